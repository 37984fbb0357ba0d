"""The service as an ASGI application.

A request passes these steps:

1. ``request_log`` measures its time, counts and logs it.
2. ``capacity`` is checked, then Starlette's router finds the endpoint.
3. ``auth`` checks the token, and the body is read within its limits.
4. ``batcher`` combines its images with those of other requests, for the processes that decode and classify.

Decoding and classification never run in the event loop.
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

from fmnist_runtime.errors import ImageError, WorkerError
from fmnist_runtime.prediction import Answer, PredictionOrError
from fmnist_runtime.serve.auth import require_token
from fmnist_runtime.serve.batcher import Batcher, RequestOptions, start_pool
from fmnist_runtime.serve.capacity import OVERLOADED, Capacity, cancel_on_disconnect
from fmnist_runtime.serve.metrics import Metrics
from fmnist_runtime.serve.multipart import File, read_files
from fmnist_runtime.serve.openapi import describe
from fmnist_runtime.serve.page import page_routes
from fmnist_runtime.serve.request_log import RequestLog
from fmnist_runtime.serve.responses import INTERNAL_ERROR, JsonLine, busy, error_response
from fmnist_runtime.serve.settings import Settings, default_top_k

__all__ = ["REFUSAL_SECONDS", "Service"]

_OVERLOADED = error_response(busy(OVERLOADED))
_NO_WORKER = "unavailable: no worker process can be started; the service's log has the reason"
_TOO_MANY_CONNECTIONS = error_response(busy("busy: too many connections; try again", close=True))
_PARAMETERS = ("top_k", "reject")
"""Names in the query of a classification."""
_POST = "send the picture with POST, as curl -F file=@photo.jpg does"
_KINDS = (
    "send image/*, application/octet-stream or multipart/form-data; with curl, either -F file=@photo.jpg, "
    "or --data-binary @photo.jpg -H Content-Type:image/jpeg"
)
_PATHS = "pictures go to /classify, and /openapi.json describes all paths"
REFUSAL_SECONDS = 0.2
"""Seconds before a refusal is sent: without it, clients that retry at once would use most of the event loop's time."""


class Service:
    """A classifier behind HTTP.

    Args:
        labels: Class names of the model.
        classify: ``Classifier.results`` or ``WorkerPool.classify``; called in ``settings.workers`` threads.
        settings: See ``Settings``.
        page: Files of the browser page by path; None: no page.
        replaced: Returns the number of worker processes replaced so far, for the metrics.
        available: Returns whether images can be classified; False where no worker process can be started.

    Raises:
        FmnistError: The system grants no threads.

    Attributes:
        asgi: The ASGI application.
        settings: Settings of the service.
        ready: Whether ``/readyz`` answers 200, as long as a worker can be started; False while the service drains.
        connections: Returns the number of open connections; set by the server.
    """

    def __init__(
        self,
        labels: Sequence[str],
        classify: Callable[..., list[PredictionOrError]],
        settings: Settings | None = None,
        page: Mapping[str, bytes] | None = None,
        *,
        replaced: Callable[[], int] = lambda: 0,
        available: Callable[[], bool] = lambda: True,
    ) -> None:
        self.settings = settings or Settings()
        self.ready = True
        self.connections: Callable[[], int] = lambda: 0
        self._available = available
        self._labels = labels
        self._capacity = Capacity(self.settings.limits)
        self._metrics = Metrics(labels, self._capacity, replaced)
        self._batcher = Batcher(classify, self.settings.workers)
        self._forms, _ = start_pool(1, "forms")
        self._document = describe(labels, self.settings)
        routes = self._routes()
        self._app = Starlette(
            routes=[*routes, *page_routes(page or {})],
            exception_handlers={
                HTTPException: _refuse,
                WorkerError: _unavailable,
                ClientDisconnect: _disconnected,
                Exception: _fault,
            },
        )
        self._app.router.redirect_slashes = False  # curl prints nothing for a redirect
        known = {route.path for route in routes} | {"/"}
        self.asgi = RequestLog(self._admit, known, self._metrics.request, log_requests=self.settings.log_requests)

    def close(self) -> None:
        """Ends the threads."""
        self._batcher.close()
        self._forms.shutdown(wait=False, cancel_futures=True)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuses requests over the limits before any other work, because refusals must be cheap under overload."""
        crowded = self.connections() > self.settings.limits.connections
        if crowded or (scope.get("path") == "/classify" and self._capacity.full):
            await asyncio.sleep(REFUSAL_SECONDS)
            await (_TOO_MANY_CONNECTIONS if crowded else _OVERLOADED)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _routes(self) -> list[Route]:
        token = self.settings.token
        return [
            Route("/classify", require_token(self._classify, token), methods=["POST"]),
            Route("/metrics", require_token(self._show_metrics, token)),
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
            Route("/openapi.json", self._openapi),
        ]

    async def _classify(self, request: Request) -> Response:
        options = _options(request, len(self._labels), self.settings.limits.pixels)
        kind = _media_type(request)
        with self._capacity.body() as buffer:
            body = await buffer.read(request)
            with self._capacity.request():
                files = await self._files(request, kind, body)
                with self._capacity.several_pictures(len(files)):
                    results = await self._results(request, files, options)
        request.scope["fmnist"] = {"bytes": len(body), "pictures": len(files)}
        self._metrics.results(results)
        return _response(files, results)

    async def _files(self, request: Request, kind: str, body: bytes) -> list[File]:
        if kind != "multipart/form-data":
            return [File("-", body)]
        header = request.headers["content-type"]
        limit = self.settings.limits.files
        return await asyncio.get_running_loop().run_in_executor(self._forms, read_files, header, body, limit)

    async def _results(self, request: Request, files: list[File], options: RequestOptions) -> list[PredictionOrError]:
        seconds = self.settings.limits.answer_seconds
        images = [file.data for file in files]
        try:
            async with asyncio.timeout(seconds):
                return await cancel_on_disconnect(request, self._batcher.classify(images, options))
        except TimeoutError:
            raise busy(f"busy: no answer within {seconds:g} s; try again") from None

    async def _show_metrics(self, request: Request) -> Response:
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4")

    async def _healthz(self, request: Request) -> Response:
        return JsonLine({"status": "alive"})

    async def _readyz(self, request: Request) -> Response:
        if not self.ready:
            raise busy("draining")
        if not self._available():
            raise busy(_NO_WORKER)
        return JsonLine({"status": "ready"})

    async def _openapi(self, request: Request) -> Response:
        return JsonLine(self._document)


def _options(request: Request, classes: int, max_pixels: int) -> RequestOptions:
    """Reads ``top_k`` and ``reject`` from the query; refuses repeated and other names, which are probably mistakes."""
    for name in request.query_params:
        if name not in _PARAMETERS:
            from difflib import get_close_matches

            near = get_close_matches(name[:40], _PARAMETERS, 1)
            meant = f"did you mean {near[0]}? Known" if near else "known"
            raise HTTPException(422, f"unknown parameter {name[:40]!a}; {meant}: {', '.join(_PARAMETERS)}")
        if len(request.query_params.getlist(name)) > 1:
            raise HTTPException(422, f"the parameter {name} is given more than once")
    top_k = request.query_params.get("top_k", str(default_top_k(classes)))
    if not (top_k.isascii() and top_k.isdigit() and len(top_k) < 4 and 1 <= int(top_k) <= classes):
        raise HTTPException(422, f"top_k must be a whole number from 1 to {classes}")
    reject = request.query_params.get("reject", "true")
    if reject not in ("true", "false"):
        raise HTTPException(422, "reject must be true or false")
    return RequestOptions(int(top_k), reject == "true", max_pixels)


def _media_type(request: Request) -> str:
    kind = request.headers.get("content-type", "application/octet-stream").partition(";")[0].strip().lower()
    if kind in ("multipart/form-data", "application/octet-stream") or kind.startswith("image/"):
        return kind
    raise HTTPException(415, f"cannot take '{kind}': {_KINDS}")


def _response(files: list[File], results: list[PredictionOrError]) -> Response:
    """Returns 200 where at least one image was readable, otherwise 422."""
    answers: list[dict[str, Any]] = []
    for file, result in zip(files, results, strict=True):
        if isinstance(result, Exception) and not isinstance(result, ImageError):
            raise result
        answers.append(Answer.of(file.name, result).to_dict())
    errors = [_error_with_name(answer) for answer in answers if "error" in answer]
    if len(errors) < len(answers):
        return JsonLine({"answers": answers})
    return JsonLine({"error": "; ".join(errors)}, 422)


def _error_with_name(answer: dict[str, Any]) -> str:
    return str(answer["error"]) if answer["path"] == "-" else f"{answer['path']}: {answer['error']}"


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405 and request.url.path == "/classify":
        return JsonLine({"error": f"{error.detail}: {_POST}"}, 405, error.headers)
    if error.status_code == 404:
        return JsonLine({"error": f"{error.detail}: {_PATHS}"}, 404, error.headers)
    return error_response(error)


async def _unavailable(request: Request, error: Exception) -> Response:
    return error_response(busy(_NO_WORKER))  # the pool logs the reason


async def _fault(request: Request, error: Exception) -> Response:
    return JsonLine(INTERNAL_ERROR, 500)  # ``request_log`` logs the exception


async def _disconnected(request: Request, error: Exception) -> Response:
    # No client reads this response. Its status, 400, marks no fault of the service in log and metrics.
    return JsonLine({"error": "the client disconnected"}, 400)
