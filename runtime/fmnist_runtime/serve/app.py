"""The service as an ASGI application.

A request passes, from outside in: ``watch`` (time, count, log), a look whether there is room at all, Starlette's router,
the token, ``body`` (limits), then ``batcher``, where its pictures join those of others on their way to the processes that
decode and classify. The event loop itself only moves bytes.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from fmnist_runtime.errors import ImageError
from fmnist_runtime.prediction import Answer, PredictionOrError
from fmnist_runtime.serve.batcher import Batcher, Options
from fmnist_runtime.serve.body import BUSY, Room, while_there
from fmnist_runtime.serve.metrics import Metrics
from fmnist_runtime.serve.multipart import File, read_files
from fmnist_runtime.serve.openapi import describe
from fmnist_runtime.serve.page import page_routes
from fmnist_runtime.serve.settings import Settings
from fmnist_runtime.serve.token import guard
from fmnist_runtime.serve.watch import FAULT, JsonLine, Watched, busy

__all__ = ["REFUSAL_SECONDS", "Service"]

_BUSY = busy(BUSY)
_CROWDED = JsonLine(
    {"error": "busy: too many connections; try again"}, 503, {"Retry-After": "1", "Connection": "close"}
)
REFUSAL_SECONDS = 0.2
"""A refusal waits so long, or clients that ask again at once would keep the event loop from those that are served."""


class Service:
    """A classifier, wherever it runs, and everything that answers for it; ``asgi`` is the application.

    Args:
        labels: the model's.
        work: ``Classifier.results`` or ``WorkerPool.classify``; called in ``settings.workers`` threads.
        settings: see there.
        page: the files of the browser's page, by path; none: there is no page.
        replaced: how many worker processes have been, for the metrics.
    """

    def __init__(
        self,
        labels: Sequence[str],
        work: Callable[..., list[PredictionOrError]],
        settings: Settings | None = None,
        page: Mapping[str, bytes] | None = None,
        *,
        replaced: Callable[[], int] = lambda: 0,
    ) -> None:
        self.settings = settings or Settings()
        self.ready = True
        self.connections: Callable[[], int] = lambda: 0  # how many are open: known to who runs this
        self._labels = labels
        self._room = Room(self.settings.limits)
        self._metrics = Metrics(labels, self._room, replaced)
        self._batcher = Batcher(work, self.settings.workers)
        self._document = describe(labels, self.settings)
        routes = self._routes()
        app = Starlette(
            routes=[*routes, *page_routes(page or {})],
            exception_handlers={HTTPException: _refuse, ClientDisconnect: _gone, Exception: _fault},
        )
        self._app = app
        known = {route.path for route in routes} | {"/"}
        self.asgi = Watched(self._admit, known, self._metrics.request, log_requests=self.settings.log_requests)

    def close(self) -> None:
        """Let the threads end that wait for ``work``."""
        self._batcher.close()

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse before anything else is done for a request: under overload, refusing must cost next to nothing."""
        crowded = self.connections() > self.settings.limits.connections
        if crowded or (scope.get("path") == "/classify" and self._room.full):
            await asyncio.sleep(REFUSAL_SECONDS)
            await (_CROWDED if crowded else _BUSY)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _routes(self) -> list[Route]:
        token = self.settings.token
        return [
            Route("/classify", guard(self._classify, token), methods=["POST"]),
            Route("/metrics", guard(self._show_metrics, token)),
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
            Route("/openapi.json", self._openapi),
        ]

    async def _classify(self, request: Request) -> Response:
        options = _options(request, len(self._labels), self.settings.limits.pixels)
        kind = _media_type(request)
        with self._room.lease() as lease:
            body = await lease.read(request)
            with self._room.slot():
                files = await self._files(request, kind, body)
                with self._room.shelf(len(files)):
                    outcomes = await self._outcomes(request, files, options)
        request.scope["fmnist"] = {"bytes": len(body), "pictures": len(files)}
        self._metrics.outcomes(outcomes)
        return _answer(files, outcomes)

    async def _files(self, request: Request, kind: str, body: bytes) -> list[File]:
        if kind != "multipart/form-data":
            return [File("-", body)]
        header = request.headers["content-type"]
        return await asyncio.to_thread(read_files, header, body, self.settings.limits.files)

    async def _outcomes(self, request: Request, files: list[File], options: Options) -> list[PredictionOrError]:
        seconds = self.settings.limits.answer_seconds
        try:
            async with asyncio.timeout(seconds):
                return await while_there(request, self._batcher.answer([file.data for file in files], options))
        except TimeoutError:
            raise HTTPException(503, f"busy: no answer within {seconds:g} s; try again", {"Retry-After": "1"}) from None

    async def _show_metrics(self, request: Request) -> Response:
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4")

    async def _healthz(self, request: Request) -> Response:
        return JsonLine({"status": "alive"})

    async def _readyz(self, request: Request) -> Response:
        if not self.ready:
            return busy("draining")
        return JsonLine({"status": "ready"})

    async def _openapi(self, request: Request) -> Response:
        return JsonLine(self._document)


def _options(request: Request, classes: int, max_pixels: int) -> Options:
    """The query's ``top_k`` and ``reject``."""
    top_k = request.query_params.get("top_k", "3")
    if not (top_k.isascii() and top_k.isdigit() and len(top_k) < 4 and 1 <= int(top_k) <= classes):
        raise HTTPException(422, f"top_k must be a whole number from 1 to {classes}")
    reject = request.query_params.get("reject", "true")
    if reject not in ("true", "false"):
        raise HTTPException(422, "reject must be true or false")
    return Options(int(top_k), reject == "true", max_pixels)


def _media_type(request: Request) -> str:
    kind = request.headers.get("content-type", "application/octet-stream").partition(";")[0].strip().lower()
    if kind in ("multipart/form-data", "application/octet-stream") or kind.startswith("image/"):
        return kind
    raise HTTPException(415, f"cannot take '{kind}': send image/*, application/octet-stream or multipart/form-data")


def _answer(files: list[File], outcomes: list[PredictionOrError]) -> Response:
    """200 where at least one picture could be read, 422 where none could."""
    answers: list[dict[str, Any]] = []
    for file, outcome in zip(files, outcomes, strict=True):
        if isinstance(outcome, Exception) and not isinstance(outcome, ImageError):
            raise outcome
        answers.append(Answer.of(file.name, outcome).to_dict())
    errors = [_named(answer) for answer in answers if "error" in answer]
    if len(errors) < len(answers):
        return JsonLine({"answers": answers})
    return JsonLine({"error": "; ".join(errors)}, 422)


def _named(answer: dict[str, Any]) -> str:
    return answer["error"] if answer["path"] == "-" else f"{answer['path']}: {answer['error']}"


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JsonLine({"error": error.detail}, error.status_code, error.headers)


async def _fault(request: Request, error: Exception) -> Response:
    return JsonLine(FAULT, 500)  # and ``watch`` logs it


async def _gone(request: Request, error: Exception) -> Response:
    # Nobody reads this; it gives the log and the metrics a status that is not a fault of ours.
    return JsonLine({"error": "the client went away"}, 400)
