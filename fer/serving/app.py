"""The demo's addresses: the page and its files, ``POST /predict``, ``POST /video``, the game's texts."""

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

import fer
from fer.environment import usable_cores
from fer.errors import FERError
from fer.serving import examples, uploads
from fer.serving.answering import Answering, Film
from fer.serving.guard import Guard
from fer.serving.situations import Game

PAGE: Final = Path(__file__).parent / "page"
_KINDS: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_WAITING: Final = 8  # requests beyond those that are worked on; others are told to come again
_LINES: Final = 8  # answers of a video that are sent together
_T = TypeVar("_T")


def build(config: Mapping[str, Any], games: Mapping[str, Game]) -> Starlette:
    """Return the application.

    Args:
        config: The resolved config of ``fer.demo``.
        games: The game's texts by their language's code, the chosen one first.

    Raises:
        FERError: If a model cannot be used.
    """
    desk = _Desk(Answering(config), games)
    files = [path.name for path in PAGE.iterdir() if path.suffix in _KINDS]
    routes = [
        Route("/", desk.file("index.html")),
        *(Route(f"/{name}", desk.file(name)) for name in files),
        Route("/about", desk.about),
        Route("/game/{code}", desk.game),
        Route("/example.png", desk.example),
        Route("/predict", desk.predict, methods=["POST"]),
        Route("/video", desk.video, methods=["POST"]),
    ]
    guard = Middleware(Guard, host=config["host"], names=config["names"])
    return Starlette(
        routes=routes, middleware=[guard],
        exception_handlers={HTTPException: _refusal, FERError: _unusable, Exception: _fault},
    )  # fmt: skip


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _unusable(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


async def _fault(request: Request, error: Exception) -> Response:
    """Answer where the program itself is wrong; the traceback stands on the terminal."""
    return JSONResponse({"error": f"the server failed: {type(error).__name__}; its terminal says more"}, 500)


class _Desk:
    """Takes requests one after the other, so many at once."""

    def __init__(self, answering: Answering, games: Mapping[str, Game]) -> None:
        self.answering, self.games = answering, games
        self.limits = {key: answering.config[key] for key in ("picture_mb", "video_mb", "video_seconds", "faces")}
        self.most = answering.config["threads"] or usable_cores()
        self.workers = CapacityLimiter(self.most)
        self.inside = {"pictures": 0, "videos": 0}

    def file(self, name: str) -> Callable[[Request], Any]:
        """Return what answers with a file of the page."""

        async def answer(request: Request) -> Response:
            return FileResponse(PAGE / name, media_type=_KINDS[Path(name).suffix])

        return answer

    async def about(self, request: Request) -> Response:
        """Say what there is: models, limits, languages."""
        languages = [{"code": code, "name": game.words["language"]} for code, game in self.games.items()]
        about = {"fer": fer.__version__, "models": self.answering.about, "limits": self.limits, "languages": languages}
        return JSONResponse(about)

    async def game(self, request: Request) -> Response:
        """Give the game's texts in one language."""
        game = self.games.get(request.path_params["code"])
        if game is None:
            raise HTTPException(404, f"the game speaks {', '.join(self.games)}")
        return JSONResponse(game.as_dict())

    async def example(self, request: Request) -> Response:
        """Give a picture of drawn faces."""
        with self._turn("pictures", self.most + _WAITING):
            return Response(
                await self._work(examples.drawn_faces, _whole(request, "seed", 0, 2**31)), media_type="image/png"
            )

    async def predict(self, request: Request) -> Response:
        """Say what a model sees in the picture that was sent."""
        number = self._model(request)
        crops, explain = (request.query_params.get(key) == "true" for key in ("crops", "explain"))
        with self._turn("pictures", self.most + _WAITING):
            async with uploads.received(request, self.limits["picture_mb"]) as path:
                return JSONResponse(await self._work(self.answering.picture, path, number, crops, explain))

    async def video(self, request: Request) -> Response:
        """Say what a model sees in each frame of the video that was sent: a line of JSON each, as they are done."""
        number = self._model(request)
        async with AsyncExitStack() as stack:
            stack.enter_context(self._turn("videos", 1))
            path = await stack.enter_async_context(uploads.received(request, self.limits["video_mb"]))
            if not uploads.is_video(path):
                raise HTTPException(400, "not a video: MP4, MOV, WebM, MKV, AVI, MPEG, OGG, FLV and WMV are read")
            film = await self._work(self.answering.video, path, number)
            stack.callback(film.close)
            rows = self._rows(film, stack.pop_all())
        return StreamingResponse(rows, media_type="application/x-ndjson")

    async def _rows(self, film: Film, stack: AsyncExitStack) -> AsyncIterator[str]:
        """Yield a video's answers; what was opened for it is closed after the last, or when nobody listens any more."""
        async with stack:
            answers = iter(film)
            while some := await self._work(_next, answers):
                yield "".join(json.dumps(answer) + "\n" for answer in some)

    async def _work(self, task: Callable[..., _T], *args: Any) -> _T:
        return await to_thread.run_sync(task, *args, limiter=self.workers)

    @contextmanager
    def _turn(self, what: str, most: int) -> Iterator[None]:
        """Count who is inside.

        Raises:
            HTTPException: If there are too many.
        """
        if self.inside[what] >= most:
            raise HTTPException(503, f"too many {what} at once; try again in a moment", {"Retry-After": "2"})
        self.inside[what] += 1
        try:
            yield
        finally:
            self.inside[what] -= 1

    def _model(self, request: Request) -> int:
        return _whole(request, "model", 1, len(self.answering.models))


def _next(answers: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    return list(islice(answers, _LINES))


def _whole(request: Request, key: str, least: int, most: int) -> int:
    """Return a number of the query; the least if it is not given.

    Raises:
        HTTPException: If it is no such number.
    """
    given = request.query_params.get(key, str(least))
    if not (given.isascii() and given.isdigit() and len(given) < 12 and least <= int(given) <= most):
        raise HTTPException(400, f"{key}={given[:40]!r}: must be a whole number from {least} to {most}")
    return int(given)
