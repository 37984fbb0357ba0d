"""Who may ask: the bearer token of RFC 6750."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

__all__ = ["Endpoint", "guard"]

Endpoint = Callable[[Request], Awaitable[Response]]


def guard(endpoint: Endpoint, token: str | None) -> Endpoint:
    """Let in only who brings the token, if there is one; anybody else gets 401."""
    if token is None:
        return endpoint
    # Hashes are of one length, and comparing them says nothing about how much of a guess was right.
    expected = hashlib.sha256(token.encode()).digest()

    async def guarded(request: Request) -> Response:
        scheme, _, brought = request.headers.get("authorization", "").partition(" ")
        found = hashlib.sha256(brought.strip(" ").encode("latin-1")).digest()
        if not hmac.compare_digest(found, expected) or scheme.lower() != "bearer":
            headers = {"WWW-Authenticate": "Bearer"}
            raise HTTPException(401, "send the token: Authorization: Bearer TOKEN", headers)
        return await endpoint(request)

    return guarded
