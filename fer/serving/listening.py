"""The socket that the demo listens on, and the server behind it. No torch."""

import errno
import logging
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from fer.errors import ConfigError

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp

log = logging.getLogger(__name__)

_QUEUE = 64  # connections that wait
_LAST = 3  # seconds that running requests have when the server is stopped


@contextmanager
def opened(host: str, port: int) -> Iterator[socket.socket]:
    """Open the socket, before the seconds that a model takes: whoever connects meanwhile waits.

    Args:
        host: An address of this machine, or its name.
        port: 0 for any that is free.

    Raises:
        ConfigError: If that cannot be.
    """
    try:
        kind, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"host={host}: is no address of this machine. 127.0.0.1 is this machine alone.") from error
    with socket.socket(kind, socket.SOCK_STREAM) as made:
        if os.name == "posix":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # at once after a server that was stopped
        try:
            made.bind(address)
            made.listen(_QUEUE)
        except OSError as error:
            raise _refused(host, port, error) from error
        yield made


def _refused(host: str, port: int, error: OSError) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        other = f"port={port + 1}, or " if port < 65535 else ""
        said = (
            f"port={port}: another program listens there already. Choose another: {other}port=0 for any that is free."
        )
    elif error.errno == errno.EACCES:
        said = f"port={port}: this user may not listen there. Choose one from 1024 on: port=8000"
    elif error.errno == errno.EADDRNOTAVAIL:
        said = f"host={host}: is no address of this machine. 127.0.0.1 is this machine alone."
    else:
        said = f"host={host} port={port}: cannot be listened on ({error.strerror})."
    return ConfigError(said)


def address_of(listening: socket.socket) -> str:
    """Return the page's address, as one types it on this machine."""
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def serve(app: "ASGIApp", listening: socket.socket, browser: bool) -> None:
    """Serve until Ctrl-C.

    Args:
        app: What answers.
        listening: From :func:`opened`.
        browser: Whether the page is opened in the browser, where there is one to see.
    """
    address = address_of(listening)
    log.info("the page: %s   (Ctrl-C ends it)", address)
    if browser and (sys.platform in ("darwin", "win32") or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()):
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()  # its connection waits
    with suppress(KeyboardInterrupt):  # uvicorn ends what runs, then raises it
        server(app).run(sockets=[listening])
    log.info("stopped")


def server(app: "ASGIApp") -> "uvicorn.Server":
    """Return the server: HTTP alone, no access log, no name of itself."""
    import uvicorn

    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, lifespan="off", ws="none", http="h11",
        timeout_graceful_shutdown=_LAST, backlog=_QUEUE,
    )  # fmt: skip
    return uvicorn.Server(config)
