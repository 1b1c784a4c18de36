"""A server on the loopback address that answers as a test says and remembers what it was asked."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: Any
    content: bytes = b""


@dataclass(slots=True)
class ScriptedServer:
    url: str
    answers: dict[tuple[str, str], list[tuple[int, Any]]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def answer(self, method: str, path: str, body: Any, *, status: int = 200) -> None:
        """Answer the next such request with this; the last answer is given again and again."""
        self.answers.setdefault((method, path), []).append((status, body))

    def reply(self, asked: Asked) -> tuple[int, Any]:
        self.asked.append(asked)
        known = self.answers.get((asked.method, asked.path.split("?", maxsplit=1)[0]), [])
        if not known:
            return 404, {"title": "Not found.", "status": 404, "detail": "This does not exist."}
        return known.pop(0) if len(known) > 1 else known[0]


@contextmanager
def scripted_server() -> Iterator[ScriptedServer]:
    """Serve until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            content = self.rfile.read(length)
            body = json.loads(content) if content else None
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, reply = script.reply(Asked(self.command, self.path, headers, body, content))
            self.send_response(status)
            text = b"" if reply is None else json.dumps(reply).encode()
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 - the names http.server looks for

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        script = ScriptedServer(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield script
        finally:
            server.shutdown()
            thread.join()
