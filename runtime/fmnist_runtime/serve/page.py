"""The browser's page at ``/``: it classifies on the visitor's own device, so it asks nothing of the service but its files."""

import hashlib
import mimetypes
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

__all__ = ["page_routes"]

_TYPES = {".mjs": "text/javascript", ".js": "text/javascript", ".webmanifest": "application/manifest+json"}


def page_routes(files: Mapping[str, bytes]) -> list[Route]:
    """A route for each file of the page, served from memory; ``/`` is its ``index.html``.

    Args:
        files: contents by path, as ``webpage.page_files`` gives them.
    """
    routes = [Route(f"/{name}", _serve(name, data)) for name, data in files.items()]
    if "index.html" in files:
        routes.append(Route("/", _serve("index.html", files["index.html"])))
    return routes


def _serve(name: str, data: bytes) -> Callable[[Request], Awaitable[Response]]:
    suffix = name[name.rfind(".") :]
    headers = {
        "ETag": f'"{hashlib.sha256(data).hexdigest()[:32]}"',
        "Cache-Control": "no-cache",  # kept, but asked about: the page's own worker keeps it for use without a network
        "Content-Security-Policy": "frame-ancestors 'none'",  # the one rule that the page's own meta element cannot set
        "X-Content-Type-Options": "nosniff",
    }
    kind = _TYPES.get(suffix) or mimetypes.guess_type(name, strict=False)[0]
    headers["Content-Type"] = "application/octet-stream" if suffix == ".gz" or kind is None else kind

    async def serve(request: Request) -> Response:
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers={"ETag": headers["ETag"]})
        return Response(data, headers=headers)

    return serve
