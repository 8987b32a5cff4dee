"""What is sent to the server and cannot be kept."""

import resource
import signal

import anyio
import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from fer.serving.uploads import received


def test_a_full_disk_is_said_however_small_the_file() -> None:
    """Nothing is kept back in a buffer, to fail where nobody looks."""

    async def sent() -> dict[str, object]:
        return {"type": "http.request", "body": b"some bytes", "more_body": False}

    async def receive() -> None:
        async with received(Request({"type": "http", "method": "POST", "headers": []}, sent), 1):
            raise AssertionError("it was kept")

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # as if the disk were full
    try:
        with pytest.raises(HTTPException) as error:
            anyio.run(receive)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert error.value.status_code == 507
