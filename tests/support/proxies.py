"""nginx and Caddy as processes of a test, with the very files that the documentation tells people to use.

Only what those files mark as a reader's own is changed: addresses, the certificate, where the log goes.
"""

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from carillon_local.processes import leash
from support.throw_away_tls import certificate_file
from support.waiting import eventually

Name = Literal["nginx", "caddy"]
DEPLOY = Path(__file__).parents[2] / "deploy"
_REPLICA = re.compile(r"^(?P<before>.*)127\.0\.0\.1:8080(?P<after>.*)$", re.MULTILINE)
_NGINX_MAIN = """\
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/carillon.conf;
}}
"""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A running proxy."""

    url: str
    certificate: Path  # that clients trust
    folder: Path  # with its logs


@asynccontextmanager
async def running_proxy(
    name: Name, replicas: Sequence[str], *, port: int, folder: Path
) -> AsyncIterator[Proxy]:
    """Run a proxy before these replicas (`host:port`) until the block ends."""
    certificate = certificate_file(folder)
    command = _nginx if name == "nginx" else _caddy
    arguments = command(replicas, port=port, folder=folder, certificate=certificate)
    with (folder / "output.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            name,
            *arguments,
            env={"HOME": str(folder), "PATH": "/usr/bin:/usr/sbin:/bin"},
            stdout=log,
            stderr=log,
            preexec_fn=leash(signal.SIGTERM),
        )
    try:
        await _listening(process, port, folder)
        yield Proxy(f"https://127.0.0.1:{port}", certificate, folder)
    finally:
        if process.returncode is None:
            # nginx takes its workers with it; Caddy would wait for streams.
            process.send_signal(signal.SIGTERM if name == "nginx" else signal.SIGKILL)
        await process.wait()


def _nginx(replicas: Sequence[str], *, port: int, folder: Path, certificate: Path) -> list[str]:
    text = _with_replicas((DEPLOY / "nginx/carillon.conf").read_text(), replicas, alone=True)
    for yours, ours in (
        ("listen 443 ssl http2;", f"listen 127.0.0.1:{port} ssl http2;"),
        ("/etc/ssl/carillon/certificate.pem", str(certificate)),
        ("/etc/ssl/carillon/key.pem", str(certificate)),
        ("/var/log/nginx/carillon.log", f"{folder}/access.log"),
    ):
        text = _replaced(text, yours, ours)
    (folder / "carillon.conf").write_text(text)
    (folder / "nginx.conf").write_text(_NGINX_MAIN.format(folder=folder))
    return ["-c", f"{folder}/nginx.conf", "-e", f"{folder}/error.log"]


def _caddy(replicas: Sequence[str], *, port: int, folder: Path, certificate: Path) -> list[str]:
    text = _with_replicas((DEPLOY / "caddy/Caddyfile").read_text(), replicas, alone=False)
    site = f"https://127.0.0.1:{port} {{\n\ttls {certificate} {certificate}"
    text = _replaced(text, "notifications.example.org {", site)
    text = _replaced(text, "{\n\t# Streams live", "{\n\tadmin off\n\tauto_https off\n\t# Streams live")
    (folder / "Caddyfile").write_text(text)
    return ["run", "--config", f"{folder}/Caddyfile", "--adapter", "caddyfile"]


def _replaced(text: str, yours: str, ours: str) -> str:
    assert text.count(yours) == 1, f"{yours!r} stands {text.count(yours)} times in the documented file"
    return text.replace(yours, ours)


def _with_replicas(text: str, replicas: Sequence[str], *, alone: bool) -> str:
    """Name our replicas: a line for each, or all in one line."""

    def ours(line: re.Match[str]) -> str:
        before, after = line["before"], line["after"]
        if alone:
            return "\n".join(f"{before}{replica}{after}" for replica in replicas)
        return f"{before}{' '.join(replicas)}{after}"

    changed, times = _REPLICA.subn(ours, text)
    assert times == 2, f"{times} lines name a replica"
    return changed


async def _listening(process: asyncio.subprocess.Process, port: int, folder: Path) -> None:
    async def look() -> bool:
        said = (folder / "output.log").read_text()
        assert process.returncode is None, f"it ended: {said}"
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    await eventually(look, seconds=30, what="the proxy to listen")
