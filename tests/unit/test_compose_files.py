"""`docker-compose.yml`, the Dockerfile, the pinned images and the secrets fit together."""

import re
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from carillon_local.backend import pinned_images
from carillon_local.compose.secret_files import INSTALLATION, secret_files, write_secret_files
from carillon_local.secrets import Secrets
from carillon_mock_providers.settings import MockSettings
from carillon_shared.broker.__main__ import TopologySettings
from carillon_shared.db.__main__ import MigrationSettings

ROOT = Path(__file__).parents[2]
PINS = pinned_images(ROOT)
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}


def mounted(service: dict[str, Any]) -> str | None:
    """The volume whose files a container finds in /run/carillon."""
    volumes = [volume.split(":") for volume in service.get("volumes", [])]
    return next((parts[0] for parts in volumes if parts[1] == "/run/carillon"), None)


def folder_of(volume: str) -> str:
    """The volume's name among the secrets, which is where the `secrets` step mounts it."""
    places = dict(entry.split(":")[:2] for entry in SERVICES["secrets"]["volumes"])
    return str(places[volume]).removeprefix("/secrets/")


@pytest.mark.parametrize("file", ["docker-compose.yml", "Dockerfile"])
def test_repeated_images_are_the_pinned_ones(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    repeated = re.findall(r"(?:ARG |\$\{)(\w+_IMAGE)(?:=|:-)([^\s}]+)", text)
    assert repeated
    assert {name: PINS[name] for name, _ in repeated} == dict(repeated)


def test_every_image_is_pinned_to_a_whole_version() -> None:
    assert set(PINS) == {"PYTHON_IMAGE", "UV_IMAGE", "POSTGRES_IMAGE", "RABBITMQ_IMAGE"}
    for image in PINS.values():
        assert re.search(r":\d+\.\d+", image), image


def test_every_file_that_a_container_is_pointed_to_is_written_into_its_volume() -> None:
    files = secret_files(Secrets())
    pointed = 0
    for service in OURS.values():
        for variable, path in (service.get("environment") or {}).items():
            if variable.endswith("_FILE"):
                assert Path(path).name in files[folder_of(mounted(service) or "")]
                pointed += 1
    assert pointed > 10


def test_no_service_can_read_the_secrets_of_another() -> None:
    volumes = [mounted(service) for name, service in SERVICES.items() if name not in {"topology", "cli"}]
    found = [volume for volume in volumes if volume]
    assert len(found) == len(set(found)) == 8
    assert folder_of("installation") == INSTALLATION
    assert "installation" not in found


def test_the_compose_file_holds_no_password() -> None:
    for service in OURS.values():
        for variable in service.get("environment") or {}:
            assert not re.search(r"(PASSWORD|SECRET|TOKEN|PEPPER|DATABASE_URL|BROKER_URL)$", variable)


def test_our_containers_have_no_more_rights_than_they_need() -> None:
    for service in OURS.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    for service in SERVICES.values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")


def test_secrets_are_written_for_their_reader_only_and_stay_the_same(tmp_path: Path) -> None:
    secrets = Secrets()
    for volume in secret_files(secrets):
        (tmp_path / volume).mkdir()
    write_secret_files(secrets, tmp_path)
    first = {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    write_secret_files(secrets, tmp_path)
    assert {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()} == first
    open_to_others = {path.name for path in first if stat.S_IMODE(path.stat().st_mode) != 0o600}
    assert open_to_others == {"login.conf"}
    assert secrets.superuser not in first[tmp_path / "api" / "database_url"]


def test_one_shot_commands_and_the_mock_providers_read_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "value"
    file.write_text("postgresql://kept\n")
    for name in ("MIGRATION_DATABASE_URL", "BROKER_URL", "MOCK_WHATSAPP_TOKEN"):
        monkeypatch.delenv(f"CARILLON_{name}", raising=False)
        monkeypatch.setenv(f"CARILLON_{name}_FILE", str(file))
    assert MigrationSettings().migration_database_url.get_secret_value() == "postgresql://kept"
    assert TopologySettings().broker_url.get_secret_value() == "postgresql://kept"
    assert MockSettings().whatsapp_token.get_secret_value() == "postgresql://kept"
    monkeypatch.setenv("CARILLON_MOCK_WHATSAPP_TOKEN", "given")
    assert MockSettings().whatsapp_token.get_secret_value() == "given"
