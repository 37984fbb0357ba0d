"""The page beside others of its origin, on servers with other settings, and faults that the ``page`` fixture detects."""

import itertools
import os
import time
from contextlib import suppress
from pathlib import Path

from fmnist_runtime.model_file.store import find_model, read_model
from fmnist_runtime.webpage import write_page

LOADED = """async () => {
    await new Promise((resume) => setTimeout(resume, 100));
    if (!document.documentElement.dataset.ready) return null;
    const size = (await (await fetch("model.bin")).arrayBuffer()).byteLength;
    return [performance.getEntriesByType("navigation")[0].type, size];
}"""
"""How the page was loaded, and the size of its model; null until it is ready."""


def wait_until_loaded(page, how: str, size: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with suppress(Exception):  # the page was loaded again in the middle
            if page.evaluate(LOADED) == [how, size]:
                return
    raise AssertionError(f"not loaded by {how}, with a model of {size} bytes")


def test_a_new_page_leaves_the_caches_of_others_alone(browser, site: str) -> None:
    others = ["another application", f"{site}elsewhere/ 0123456789abcdef"]
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{site}icon.svg")  # of the same origin, and without a worker
        page.evaluate(
            "async (names) => { for (const name of names) await caches.open(name); }", [*others, f"{site} old"]
        )
        page.goto(site)
        page.wait_for_selector("html[data-ready]")
        page.evaluate("""async () => {
            const { active } = await navigator.serviceWorker.ready;
            while (active.state !== "activated") await new Promise((resume) => setTimeout(resume, 20));
        }""")
        names = page.evaluate("() => caches.keys()")
        assert names[: len(others)] == others
        assert [name.rpartition(" ")[0] for name in names[len(others) :]] == [site] and f"{site} old" not in names


def test_a_newer_page_takes_over_unless_this_one_is_in_use(browser, serve_folder, tmp_path: Path) -> None:
    seconds = itertools.count(1_700_000_000)

    def write(model: str) -> int:
        write_page(read_model(find_model(model)), tmp_path)
        second = next(seconds)
        for path in tmp_path.rglob(
            "*"
        ):  # Last-Modified has whole seconds: the server answers 304 for two pages of one second
            os.utime(path, (second, second))
        return (tmp_path / "model.bin").stat().st_size

    write("nano")
    with serve_folder(tmp_path) as site, browser.new_context() as context:
        first = context.new_page()
        first.goto(site)
        first.evaluate("async () => void await navigator.serviceWorker.ready")
        size = write("micro")
        page = context.new_page()
        page.goto(site)  # the first one is still open
        wait_until_loaded(page, "reload", size)
        page.click(".sample")
        page.wait_for_selector("#result:not([hidden])")
        size = write("nano")
        page.evaluate("async () => void await (await navigator.serviceWorker.ready).update()")
        page.wait_for_selector("#newer:not([hidden])")
        assert page.locator("#result").is_visible()
        page.click("#newer a")
        wait_until_loaded(page, "navigate", size)
        assert page.locator("#newer").is_hidden()


def test_a_page_without_a_server_says_what_it_needs(browser, folder: Path) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto((folder / "index.html").as_uri())
        assert page.inner_text("#loading").startswith("This page needs JavaScript and a web server")
        assert page.locator("#hint").is_hidden()


def test_a_browser_without_simd_gets_the_plain_kernels(browser, site: str) -> None:
    with browser.new_context(service_workers="block") as context:
        page = context.new_page()
        page.route("**/kernels.simd.wasm", lambda route: route.fulfill(body=b"instructions that no browser has"))
        page.goto(site)
        page.wait_for_selector("html[data-ready]")
        assert page.inner_text("#selftest").endswith("the exported logits to the bit.")


def test_what_cannot_be_fetched_is_named(browser, site: str) -> None:
    with browser.new_context(service_workers="block") as context:
        page = context.new_page()
        page.route("**/model.bin", lambda route: route.abort())
        page.goto(site)
        page.wait_for_selector("#message:not(:empty)")
        assert page.inner_text("#message").startswith("model.bin cannot be fetched")


def test_errors_in_the_console_are_noticed(page, errors: list[str]) -> None:
    with page.expect_event("pageerror"):
        page.evaluate("""() => {
            console.error("logged");
            setTimeout(() => { throw new Error("thrown"); });
        }""")
    assert errors == ["logged", "thrown"]
    errors.clear()
