"""Routes of the browser page at ``/``: static files; the page classifies on the visitor's own device."""

import hashlib
import mimetypes
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

__all__ = ["page_routes"]

_TYPES = {".js": "text/javascript", ".wasm": "application/wasm", ".webmanifest": "application/manifest+json"}
"""Media types that may be missing or wrong in the operating system's table."""


def page_routes(files: Mapping[str, bytes]) -> list[Route]:
    """Returns a route for each file, served from memory; ``/`` is ``index.html``.

    Args:
        files: Contents by path, see ``webpage.page_files``.
    """
    routes = [Route(f"/{name}", _serve(name, data)) for name, data in files.items()]
    if "index.html" in files:
        routes.append(Route("/", _serve("index.html", files["index.html"])))
    return routes


def _serve(name: str, data: bytes) -> Callable[[Request], Awaitable[Response]]:
    suffix = name[name.rfind(".") :]
    headers = {
        "ETag": f'"{hashlib.sha256(data).hexdigest()[:32]}"',
        "Cache-Control": "no-cache",  # stored, but revalidated: the page's service worker keeps it for offline use
        "Content-Security-Policy": "frame-ancestors 'none'",  # the one rule that a meta element cannot set
        "X-Content-Type-Options": "nosniff",
    }
    kind = _TYPES.get(suffix) or mimetypes.guess_type(name, strict=False)[0]
    headers["Content-Type"] = kind or "application/octet-stream"

    async def serve(request: Request) -> Response:
        stored = request.headers.get("if-none-match", "").split(",")
        if headers["ETag"] in (tag.strip().removeprefix("W/") for tag in stored):  # W/: a proxy compressed the file
            return Response(status_code=304, headers={"ETag": headers["ETag"]})
        return Response(data, headers=headers)

    return serve
