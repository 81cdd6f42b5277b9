"""A web server in a thread, which can be told to fail; and small shards to serve."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.datasets.files import encoded, plain


class Server:
    """Files by their paths, over http.

    Attributes:
        files: path -> bytes; they may be changed at any time.
        pages: paths that give an HTML page with status 200.
        refused: path -> status.
        breaks: bytes after which the next answers that have more break off, one each.
        ranges: whether parts are given.
        bodies: path -> how many answers gave it whole, or a part that is more than a byte.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)
        self.pages: set[str] = set()
        self.refused: dict[str, int] = {}
        self.breaks: list[int] = []
        self.ranges = True
        self.bodies: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.url = ""


@contextmanager
def serving(files: Mapping[str, bytes]) -> Iterator[Server]:
    """Serve until the end of the block."""
    server = Server(files)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            _answer(self, server)

        def log_message(self, *arguments):
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    server.url = f"http://127.0.0.1:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


def _answer(handler: BaseHTTPRequestHandler, server: Server) -> None:
    path = handler.path.partition("?")[0].lstrip("/")
    server.asked[path] += 1
    if path in server.pages:
        return _send(
            handler, 200, b"<!DOCTYPE html><title>Log in</title>", {"Content-Type": "text/html; charset=utf-8"}
        )
    if path in server.refused or path not in server.files:
        return handler.send_error(server.refused.get(path, 404))
    content = server.files[path]
    tag = f'"{hashlib.sha256(content).hexdigest()[:8]}"'
    wanted = handler.headers.get("Range") if server.ranges else None
    if wanted is None:
        is_probe = handler.headers.get("Range") == "bytes=0-0"
        server.bodies[path] += not is_probe
        return _send(
            handler, 200, content, {"ETag": tag}, None if is_probe or not server.breaks else server.breaks.pop(0)
        )
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    if int(first) >= len(content):
        return handler.send_error(416)
    part = content[int(first) : int(last) + 1 if last else None]
    server.bodies[path] += len(part) > 1
    about = {"ETag": tag, "Content-Range": f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}"}
    return _send(handler, 206, part, about, server.breaks.pop(0) if server.breaks and len(part) > 1 else None)


def _send(
    handler: BaseHTTPRequestHandler, status: int, content: bytes, headers: Mapping[str, str], cut: int | None = None
):
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(content)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(content if cut is None else content[:cut])


def shard(first: int, count: int = 2) -> bytes:
    """A tar of `count` images; keys, labels and shades of grey are `first`, `first` + 1, ..."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for label in range(first, first + count):
            image = encoded(plain((label, label, label)))
            for name, content in ((f"{label:04d}.png", image), (f"{label:04d}.cls", str(label).encode())):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
