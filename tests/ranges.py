"""A small server of byte ranges that can be made to fail: it drops, refuses, delays, or changes."""

from __future__ import annotations

import random
import re
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Trouble:
    """What goes wrong with requests for a body, each with a probability; and a count of it."""

    drop: float = 0.0
    """The connection ends in the middle of the body."""
    busy: float = 0.0
    """Answered 503."""
    delay: float = 0.0
    """Answered 50 ms late."""
    status: int = 0
    """Answer this to everything, where not 0."""
    whole: bool = False
    """Whole files, whatever range is asked for."""
    seed: int = 0
    requests: int = 0
    """All that came, also those refused."""
    counts: dict[str, int] = field(default_factory=lambda: {"drop": 0, "busy": 0, "delay": 0})
    bytes_sent: int = 0
    """Bytes of bodies."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311  no secret

    def strikes(self, kind: str) -> bool:
        """Draw whether this request has this trouble."""
        with self.lock:
            hit = self._random.random() < getattr(self, kind)
            self.counts[kind] += hit
        return hit


class Handler(BaseHTTPRequestHandler):
    """Answers for a folder; both are given to a subclass."""

    folder: Path
    trouble: Trouble
    protocol_version = "HTTP/1.1"
    # Else the second packet of an answer waits for the first's receipt, 40 ms.
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        with self.trouble.lock:
            self.trouble.requests += 1
        path = self.folder / self.path.partition("?")[0].lstrip("/")
        if self.trouble.status or not path.is_file():
            self._refuse(self.trouble.status or 404)
            return
        if self.trouble.strikes("busy"):
            self._refuse(503)
            return
        if self.trouble.strikes("delay"):
            time.sleep(0.05)
        self._send(path, body=body)

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, path: Path, *, body: bool) -> None:
        size = path.stat().st_size
        first, last = 0, size - 1
        asked = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked and not self.trouble.whole:
            first, last = int(asked[1]), min(int(asked[2] or size - 1), size - 1)
            if first >= size:
                self._refuse(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        else:
            self.send_response(200)
        self.send_header("Accept-Ranges", "none" if self.trouble.whole else "bytes")
        self.send_header("ETag", f'"{path.stat().st_mtime_ns}-{size}"')
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        if not body:
            return
        with path.open("rb") as file:
            file.seek(first)
            content = file.read(last + 1 - first)
        if self.trouble.strikes("drop"):
            content = content[: len(content) // 2]
            self.close_connection = True
        with self.trouble.lock:
            # Before the answer is there: who has it may ask for the count at once.
            self.trouble.bytes_sent += len(content)
        try:
            self.wfile.write(content)
        except OSError:
            # Whoever asked has hung up.
            self.close_connection = True


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing of a client that has hung up."""


@contextmanager
def serve(folder: Path, trouble: Trouble | None = None) -> Iterator[str]:
    """Serve the files of a folder on this machine; yields the address."""
    known = {"folder": folder, "trouble": trouble or Trouble()}
    answering = type("Answering", (Handler,), known)
    server = _Server(("127.0.0.1", 0), answering)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
