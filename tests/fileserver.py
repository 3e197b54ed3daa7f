"""A file server on 127.0.0.1 that misbehaves on demand."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """files: path -> content. The rest is how it is served. asked: (path, Range header or "") of
    every request; sent: body bytes."""

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    etag: str | None = '"one"'
    breaks_at: list[int] = field(default_factory=list)
    """Body bytes after which the connection is cut, one for each of the next requests."""
    status: list[int] = field(default_factory=list)
    """Status codes of the next requests."""
    hold: threading.Event | None = None
    """If set, bodies stop half way until the event."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    sent: int = 0
    url: str = ""


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            site.asked.append((self.path, wanted))
            body = site.files.get(self.path)
            if site.status or body is None:
                self.send_error(site.status.pop(0) if site.status else 404)
                return
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and site.ranges else 0  # type: ignore[index]
            if start >= len(body) > 0:
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(body) - start))
            if site.etag:
                self.send_header("ETag", site.etag)
            self.end_headers()
            stop = site.breaks_at.pop(0) if site.breaks_at else len(body)
            part = body[start : start + stop]
            half = len(part) // 2 if site.hold else len(part)
            self._pour(part[:half])
            if site.hold:
                site.hold.wait(60)
                self._pour(part[half:])
            if stop < len(body) - start:
                self.close_connection = True

        def _pour(self, part: bytes) -> None:
            try:
                self.wfile.write(part)
                self.wfile.flush()
                site.sent += len(part)
            except OSError:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        yield site
    finally:
        if site.hold:
            site.hold.set()
        server.shutdown()
        server.server_close()
        thread.join()
