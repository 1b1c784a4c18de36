"""Which processes run with which settings, on which backend, and how a package is installed quietly."""

import io
from pathlib import Path

import pytest
from carillon_local import apt, docker_engine
from carillon_local.backend import choose_backend
from carillon_local.errors import LocalError
from carillon_local.log_view import LineSplitter, LogView
from carillon_local.platform import (
    MOCK_PROVIDERS,
    PORTS,
    SERVICES,
    Addresses,
    migrate_command,
    service_child,
    service_environment,
)
from carillon_local.secrets import Secrets


@pytest.fixture
def addresses() -> Addresses:
    ports = {name: 20000 + place for place, name in enumerate(PORTS)}
    return Addresses(ports=ports, secrets=Secrets(), broker_url="amqp://broker/")


def test_every_service_has_a_database_login_of_its_own(addresses: Addresses) -> None:
    urls = {service_environment(service, addresses)["CARILLON_DATABASE_URL"] for service in SERVICES}
    assert len(urls) == len(SERVICES)
    assert all(f":{addresses.ports['postgres']}/carillon" in url for url in urls)


def test_the_migration_alone_uses_the_owner(addresses: Addresses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARILLON_MIGRATION_DATABASE_URL", "postgresql://left-over/")
    owner = addresses.secrets.roles["carillon_owner"]
    assert owner in migrate_command(addresses).env["CARILLON_MIGRATION_DATABASE_URL"]
    for service in (*SERVICES, MOCK_PROVIDERS):
        env = service_environment(service, addresses)
        assert "CARILLON_MIGRATION_DATABASE_URL" not in env
        assert not any(owner in value for value in env.values())


def test_the_whatsapp_worker_and_the_mock_provider_share_a_token(addresses: Addresses) -> None:
    worker = next(service for service in SERVICES if service.name == "whatsapp-worker")
    sent = service_environment(worker, addresses)["CARILLON_WHATSAPP_ACCESS_TOKEN"]
    asked = service_environment(MOCK_PROVIDERS, addresses)["CARILLON_MOCK_WHATSAPP_TOKEN"]
    assert sent == asked == addresses.secrets.whatsapp_access_token


def test_the_mock_provider_reports_to_the_api_with_the_secrets_they_share(addresses: Addresses) -> None:
    api = service_environment(next(service for service in SERVICES if service.name == "api"), addresses)
    mock = service_environment(MOCK_PROVIDERS, addresses)
    for name in ("APP_SECRET", "VERIFY_TOKEN"):
        assert api[f"CARILLON_API_WHATSAPP_{name}"] == mock[f"CARILLON_MOCK_WHATSAPP_{name}"]
    port = addresses.ports["api"]
    assert mock["CARILLON_MOCK_WHATSAPP_WEBHOOK_URL"] == f"http://127.0.0.1:{port}/v1/receipts/whatsapp/-"


def test_no_two_processes_listen_on_one_port(addresses: Addresses) -> None:
    listening = [service_child(service, addresses).ready_url for service in (*SERVICES, MOCK_PROVIDERS)]
    metrics = [service.metrics_port for service in SERVICES]
    assert len(set(listening)) == len(listening)
    assert len(set(metrics)) == len(metrics)
    usual = [port for port in PORTS.values() if port is not None]
    assert len(set(usual)) == len(usual)


def test_given_urls_win_over_every_backend(tmp_path: Path) -> None:
    given = {"CARILLON_DATABASE_URL": "postgresql://x/", "CARILLON_BROKER_URL": "amqp://x/"}
    choice = choose_backend("auto", checkout=tmp_path, environment=given)
    assert choice.name == "local"
    assert choice.reason == "CARILLON_DATABASE_URL and CARILLON_BROKER_URL are given"


@pytest.mark.parametrize(
    ("engine", "compose", "images", "pulled", "chosen", "reason"),
    [
        (True, True, True, False, "compose", "a Docker engine is ready"),
        (True, True, False, True, "compose", "a Docker engine is ready"),
        (True, True, False, False, "local", "the Docker images were not all there within 60 s"),
        (True, False, True, True, "local", "Docker Compose v2 is not installed"),
        (False, True, True, True, "local", "no Docker engine answers"),
    ],
)
def test_auto_takes_docker_only_when_it_is_ready(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    engine: bool,
    compose: bool,
    images: bool,
    pulled: bool,
    chosen: str,
    reason: str,
) -> None:
    (tmp_path / "docker-compose.yml").touch()
    monkeypatch.setattr(docker_engine, "engine_answers", lambda: engine)
    monkeypatch.setattr(docker_engine, "compose_answers", lambda: compose)
    monkeypatch.setattr(docker_engine, "has_images", lambda _: images)
    monkeypatch.setattr(docker_engine, "pull", lambda _, *, seconds: pulled and seconds == 60)
    choice = choose_backend("auto", checkout=tmp_path, environment={})
    assert (choice.name, choice.reason) == (chosen, reason)


def test_compose_that_was_asked_for_and_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"there is no docker-compose\.yml here"):
        choose_backend("compose", checkout=tmp_path, environment={})


@pytest.mark.parametrize("before", [None, "#!/bin/sh\nexit 0\n"])
def test_service_starts_are_forbidden_only_while_a_package_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    policy = tmp_path / "policy-rc.d"
    if before is not None:
        policy.write_text(before)
        policy.chmod(0o700)
    seen: list[tuple[str, bool]] = []

    def install(*arguments: str) -> None:
        seen.append((arguments[0], "exit 101" in policy.read_text()))
        raise LocalError("no network")

    monkeypatch.setattr(apt, "POLICY", policy)
    monkeypatch.setattr(apt, "LOCK", tmp_path / "lock")
    monkeypatch.setattr(apt, "_is_offered", lambda _: True)
    monkeypatch.setattr(apt, "_apt_get", install)
    with pytest.raises(LocalError, match="no network"):
        apt.install("rabbitmq-server", services=())
    assert seen == [("install", True)]
    assert (policy.read_text() if policy.exists() else None) == before
    assert before is None or policy.stat().st_mode & 0o777 == 0o700


def test_the_log_view_names_each_line_and_keeps_a_file_each(tmp_path: Path) -> None:
    stream = io.StringIO()
    view = LogView(folder=tmp_path, stream=stream, names=["api", "dispatcher"])
    view.line("api", b"one")
    view.line("dispatcher", b"two")
    view.close()
    assert stream.getvalue() == "api        | one\ndispatcher | two\n"
    assert (tmp_path / "api.log").read_text() == "one\n"


def test_lines_are_whole_however_the_bytes_arrive() -> None:
    lines: list[bytes] = []
    splitter = LineSplitter(lines.append)
    for part in (b"a", b"b\nc", b"\n\nd"):
        splitter.feed(part)
    splitter.end()
    assert lines == [b"ab", b"c", b"", b"d"]


def test_a_given_key_pepper_is_kept_and_otherwise_made(
    addresses: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = next(service for service in SERVICES if service.name == "api")
    monkeypatch.delenv("CARILLON_API_KEY_PEPPER", raising=False)
    assert service_environment(api, addresses)["CARILLON_API_KEY_PEPPER"] == addresses.secrets.api_key_pepper
    monkeypatch.setenv("CARILLON_API_KEY_PEPPER", "given" * 8)
    assert service_environment(api, addresses)["CARILLON_API_KEY_PEPPER"] == "given" * 8
