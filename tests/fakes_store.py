"""A server of files as object stores are: with ranges, or without, and failing when told to."""

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from fakes import write_image_folder
from fakes_shards import pack

from fer.datasets.folder import Folder


class Files(ThreadingHTTPServer):
    """Serves a folder as object stores do: with ranges, or without."""

    daemon_threads = True
    request_queue_size = 64  # what asks side by side is not turned away

    def __init__(self, folder: Path) -> None:
        self.folder, self.ranges, self.asked, self.failing = folder, True, [], 0
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/data"


class Answer(BaseHTTPRequestHandler):
    server: Files

    def do_GET(self) -> None:
        path = self.server.folder / self.path.removeprefix("/data").lstrip("/")
        if self.command == "GET":
            self.server.asked.append((path.name, self.headers.get("Range")))
        if self.server.failing and path.suffix == ".tar":
            self.server.failing -= 1
            self.send_error(503)
            return
        if path.is_dir():
            content = "".join(f'<a href="{one.name}">{one.name}</a>' for one in sorted(path.iterdir())).encode()
        elif path.is_file():
            content = path.read_bytes()
        else:
            self.send_error(404)
            return
        size, status = len(content), 200
        if self.server.ranges and (found := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))):
            start, end = int(found[1]), min(int(found[2]) + 1, size)
            content, status = content[start:end], 206
            if start >= size:
                self.send_error(416)
                return
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.send_header("Accept-Ranges", "bytes" if self.server.ranges else "none")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET

    def log_message(self, *_: Any) -> None: ...


def serve(tmp_path: Path) -> Iterator[Files]:
    """Serve ``tmp_path/packed``: two classes, several shards."""
    write_image_folder(tmp_path / "data", classes=["happy", "sad"])
    pack(Folder(str(tmp_path / "data")), tmp_path / "packed", 0.001)
    files = Files(tmp_path / "packed")
    threading.Thread(target=files.serve_forever, daemon=True).start()
    yield files
    files.shutdown()
    files.server_close()
