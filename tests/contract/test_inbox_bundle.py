"""The committed bundle of the inbox is that of its sources, small, and served so that browsers keep it."""

import gzip
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from carillon_api.app import make_app
from carillon_api.pages.inbox_bundle import bundle
from starlette.testclient import TestClient
from support.source_tree import ROOT

CLIENT = ROOT / "clients/javascript"
BUNDLE = ROOT / "services/api/src/carillon_api/pages/static/carillon-inbox.js"
MOST_BYTES = 25_000
_PATH = "/static/carillon-inbox.js"


def _hash_of_sources() -> str:
    """Return what build.mjs writes into the first line; a change of it must be made there too."""
    names = ["build.mjs", "package.json", *(f"src/{path.name}" for path in (CLIENT / "src").iterdir())]
    found = hashlib.sha256()
    for name in sorted(names):
        found.update(name.encode() + b"\0" + (CLIENT / name).read_bytes() + b"\0")
    return found.hexdigest()


def test_the_bundle_is_built_from_these_sources() -> None:
    first = BUNDLE.read_text(encoding="utf-8").split("\n", 1)[0]
    said = re.search(r"sha256 ([0-9a-f]{64})", first)
    assert said is not None
    assert said[1] == _hash_of_sources(), "run `make inbox`"


def test_a_rebuild_gives_the_same_bytes_where_the_tools_are(tmp_path: Path) -> None:
    """Without Node and the installed esbuild the hash above has to do."""
    if shutil.which("node") is None or not (CLIENT / "node_modules/esbuild").is_dir():
        return
    built = tmp_path / "built.js"
    command = ["node", str(CLIENT / "build.mjs"), str(built)]
    subprocess.run(command, check=True, timeout=60, capture_output=True)  # noqa: S603 - our own build
    assert built.read_bytes() == BUNDLE.read_bytes()


def test_it_is_small() -> None:
    assert len(gzip.compress(BUNDLE.read_bytes(), 9)) < MOST_BYTES


def test_it_needs_nothing_that_a_strict_page_forbids() -> None:
    text = BUNDLE.read_text(encoding="utf-8")
    for forbidden in ("eval(", "new Function", "innerHTML", "document.write", "http://", "localStorage"):
        assert forbidden not in text.replace("http://www.w3.org/2000/svg", "")


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(make_app())


def test_it_is_served_packed_and_may_be_kept(client: TestClient) -> None:
    reply = client.get(_PATH, headers={"Accept-Encoding": "br;q=1.0, gzip;q=0.8"})
    assert reply.content == BUNDLE.read_bytes()
    assert reply.headers["content-encoding"] == "gzip"
    assert reply.headers["content-type"].startswith("text/javascript")
    assert reply.headers["vary"] == "Accept-Encoding"
    assert reply.headers["access-control-allow-origin"] == "*"
    assert "immutable" not in reply.headers["cache-control"]
    again = client.get(_PATH, headers={"Accept-Encoding": "gzip", "If-None-Match": reply.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    weak = {"Accept-Encoding": "gzip", "If-None-Match": f'"other", W/{reply.headers["etag"]}'}
    assert client.get(_PATH, headers=weak).status_code == 304


def test_one_version_may_be_kept_for_ever_and_only_that(client: TestClient) -> None:
    assert "immutable" in client.get(f"{_PATH}?v={bundle().version}").headers["cache-control"]
    assert "immutable" not in client.get(f"{_PATH}?v=older").headers["cache-control"]


@pytest.mark.parametrize("accepted", ["identity", "gzip;q=0", "gzip;q=0.0, br", ""])
def test_who_does_not_take_it_packed_gets_it_plain(client: TestClient, accepted: str) -> None:
    plain = client.get(_PATH, headers={"Accept-Encoding": accepted})
    packed = client.get(_PATH, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert plain.content == packed.content
    assert plain.headers["etag"] != packed.headers["etag"]
