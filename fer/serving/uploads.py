"""What is sent to the server, to a file that is gone with the request: memory does not grow with it. No torch."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

_SILENCE = 30  # seconds without a byte after which a request is given up
_WHOLE = 600  # seconds that a whole file may take: one that trickles would keep others out
_MEGABYTE = 1_000_000
# How files of videos begin. Others would be played lists of further files, which nobody has sent.
_VIDEOS = (
    (4, b"ftyp"), (4, b"moov"), (4, b"mdat"), (4, b"wide"), (4, b"free"), (4, b"skip"),  # MP4, MOV, 3GP
    (0, b"\x1a\x45\xdf\xa3"),  # Matroska, WebM
    (0, b"RIFF"), (0, b"OggS"), (0, b"FLV\x01"), (0, b"\x00\x00\x01\xba"), (0, b"\x00\x00\x01\xb3"),  # AVI, MPEG
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"), (0, b"\x47"),  # WMV, MPEG transport stream
)  # fmt: skip


@asynccontextmanager
async def received(request: Request, megabytes: float) -> AsyncIterator[Path]:
    """Yield a file with what a request holds; it is removed afterwards.

    Args:
        request: The request.
        megabytes: The most that it may hold.

    Raises:
        HTTPException: If it holds nothing, too much, or does not come.
    """
    most = int(megabytes * _MEGABYTE)
    too_large = HTTPException(413, f"the file is larger than {megabytes:g} MB")
    if int(request.headers.get("content-length") or 0) > most:
        raise too_large
    with tempfile.NamedTemporaryFile(prefix="fer-demo-", buffering=0) as file:  # a full disk is met at once
        size = 0
        stream = request.stream()
        ends = anyio.current_time() + _WHOLE
        try:
            while True:
                with anyio.fail_after(min(_SILENCE, max(0, ends - anyio.current_time()))):
                    chunk = await anext(stream, None)
                if chunk is None:
                    break
                size += len(chunk)
                if size > most:
                    raise too_large
                left = memoryview(chunk)
                while left:
                    left = left[file.write(left) :]
        except TimeoutError as error:
            raise HTTPException(
                408, f"nothing came for {_SILENCE} seconds, or not all of it in {_WHOLE // 60} minutes"
            ) from error
        except OSError as error:
            raise HTTPException(507, f"the server cannot keep the file: {error.strerror}") from error
        except ClientDisconnect as error:
            raise HTTPException(400, "the file did not come as a whole") from error
        if not size:
            raise HTTPException(
                400, "the request holds no file: send its bytes as they are (curl --data-binary @photo.jpg)"
            )
        yield Path(file.name)


def is_video(path: Path) -> bool:
    """Say whether a file begins as videos do."""
    with path.open("rb") as file:
        head = file.read(16)
    return any(head[place:].startswith(sign) for place, sign in _VIDEOS)
