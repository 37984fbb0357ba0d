"""A page written by the command, a server for it, and a headless Chromium that looks at it."""

import functools
import http.server
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from fmnist_runtime.model_file.store import find_model, read_model
from fmnist_runtime.webpage import write_page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page with the embedded model."""
    folder = tmp_path_factory.mktemp("page")
    write_page(read_model(find_model()), folder)
    return folder


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serves a folder on a free port; yields the address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="session")
def serve_folder() -> Callable[[Path], AbstractContextManager[str]]:
    """Context manager that serves a folder, and gives its address."""
    return serve


@pytest.fixture(scope="session")
def site(folder: Path) -> Iterator[str]:
    """Its address on a server of its own."""
    with serve(folder) as address:
        yield address


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """Headless Chromium whose camera shows a test picture."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    arguments = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def errors() -> Iterator[list[str]]:
    """The errors in the page's console; a test that expects some takes them out, and fails where any is left."""
    found: list[str] = []
    yield found
    assert found == []


@pytest.fixture
def page(browser, site: str, errors: list[str]) -> Iterator:
    """The page, loaded; ``errors`` holds what its console shows."""
    with browser.new_context(viewport={"width": 1100, "height": 760}) as context:
        page = context.new_page()
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.set_default_timeout(60_000)
        page.goto(site)
        page.wait_for_selector("html[data-ready]")
        yield page
