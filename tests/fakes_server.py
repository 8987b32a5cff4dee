"""The demo's server in a thread of the test."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from starlette.types import ASGIApp

from fer.serving import app, listening, situations


@contextmanager
def serving(config: Mapping[str, object]) -> Iterator[tuple[int, ASGIApp]]:
    """Serve a demo on 127.0.0.1; yield its port and the application."""
    with listening.opened("127.0.0.1", 0) as opened:
        made = app.build(config, situations.all_of(str(config["language"])))
        server = listening.server(made)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
        thread.start()
        try:
            yield opened.getsockname()[1], made
        finally:
            server.should_exit = True
            thread.join(10)
            assert not thread.is_alive(), "something of the server still waits"
