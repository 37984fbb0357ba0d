"""Bearer token of RFC 6750."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

__all__ = ["Endpoint", "require_token"]

Endpoint = Callable[[Request], Awaitable[Response]]


def require_token(endpoint: Endpoint, token: str | None) -> Endpoint:
    """Returns an endpoint that answers requests without the token with 401; the endpoint itself if ``token`` is None."""
    if token is None:
        return endpoint
    # Hashes have equal lengths, and their comparison takes the same time whatever part of a guess is correct.
    expected = hashlib.sha256(token.encode()).digest()

    async def guarded(request: Request) -> Response:
        scheme, _, sent = request.headers.get("authorization", "").partition(" ")
        found = hashlib.sha256(sent.strip(" ").encode("latin-1")).digest()
        if not hmac.compare_digest(found, expected) or scheme.lower() != "bearer":
            headers = {"WWW-Authenticate": "Bearer"}
            raise HTTPException(401, "send the token: Authorization: Bearer TOKEN", headers)
        return await endpoint(request)

    return guarded
