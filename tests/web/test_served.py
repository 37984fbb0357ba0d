"""The page beside others of its origin, on servers with other settings, and faults that the ``page`` fixture detects."""


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
