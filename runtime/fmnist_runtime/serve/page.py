"""What a browser sees at ``/``: the page that classifies on the visitor's own device, or a plain form."""

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

__all__ = ["page_routes"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
_FORM = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>fmnist-serve</title>
<style>
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
body { max-width: 36rem; margin: 3rem auto; padding: 0 1rem }
</style>
<h1>What garment is it?</h1>
<form method="post" action="classify" enctype="multipart/form-data">
<p><label>Pictures <input type="file" name="file" accept="image/*" multiple required></label>
<p><button>Classify</button>
</form>
<p>For programs: <a href="openapi.json">openapi.json</a>.
"""


def page_routes() -> list[BaseRoute]:
    """The routes of the page."""
    return [Route("/", _form)]


async def _form(request: Request) -> Response:
    return HTMLResponse(_FORM, headers={"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff"})
