"""Agreement of the web page with the command on the same photo files, each with its own decoder.

    python benchmarks/studies/page.py FOLDER [--model FILE] [--limit N] [--write]

Prints how many photos give the same 28×28 image and the same answer (a rejection counts as an answer), the largest
difference of a probability, and the processor time of one call with each build of the kernels. `--write` writes these
figures and the sizes of the download to `benchmarks/results/page.json` and `docs/page.md`, and a screenshot with the first
correctly classified example to `docs/page.png`. Needs chromium and the extra `test`.
"""

import argparse
import base64
import functools
import hashlib
import http.server
import json
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from table_text import page_agreement
from tables import RESULTS, ROOT, write_tables

from fmnist_runtime import Classifier
from fmnist_runtime.files import write_atomically
from fmnist_runtime.image_io.sources import find_images
from fmnist_runtime.machine import describe_machine
from fmnist_runtime.model_file.store import find_model, read_model
from fmnist_runtime.webpage import page_files, write_page
from fmnist_train.data.photos import slug

KERNELS = ("kernels.simd.wasm", "kernels.wasm")
WARM_UP, CALLS = 100, 500
"""Calls of each build before the measurement, while the browser still optimizes, and in it."""
LOAD = """async ({ kernels, images }) => {
    const [{ Network }, { readModel }] = await Promise.all([import("./kernels.js"), import("./model_file.js")]);
    const read = async (name) => new Uint8Array(await (await fetch(name)).arrayBuffer());
    const { metadata, data } = await readModel(await read("model.bin"));
    window.network = await Network.load(await read(kernels), data, metadata.memory, metadata.labels.length);
    window.images = images.map((image) => Uint8Array.from(image));
}"""
CALL = """(calls) => {
    for (let call = 0; call < calls; call++) window.network.logits(window.images[call % window.images.length]);
}"""
CLASSIFY = """async (text) => {
    const [{ decode }, { toNetworkInput }, { Classifier }] = await Promise.all(
        ["decode", "pipeline", "classifier"].map((name) => import(`./${name}.js`)));
    window.classifier ??= await Classifier.load();
    const file = new Blob([Uint8Array.from(atob(text), (character) => character.charCodeAt(0))]);
    const seen = toNetworkInput(await decode(file));
    const { label, probabilities } = await window.classifier.classify(seen);
    return { seen: [...seen], label, probabilities: [...probabilities] };
}"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


def compare(page: Any, classifier: Classifier, path: Path) -> tuple[bool, bool, float]:
    """Returns whether the 28×28 images are equal, whether the answers are, and the largest difference of a probability."""
    theirs = page.evaluate(CLASSIFY, base64.b64encode(path.read_bytes()).decode())
    views = classifier.prepare(path)
    ours = classifier.classify_inputs(views[None], top_k=len(classifier.labels))[0]
    probabilities = [top.probability for top in sorted(ours.top, key=lambda top: top.class_id)]
    difference = float(np.abs(np.subtract(theirs["probabilities"], probabilities)).max())
    return theirs["seen"] == views[0].ravel().tolist(), theirs["label"] == ours.label, difference


@contextmanager
def browse(model: bytes) -> Iterator[Any]:
    """Yields a page with this model, open in headless Chromium."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        write_page(model, Path(folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=folder))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 760}, service_workers="block")
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        yield page
        browser.close()
        server.shutdown()


def screenshot(page: Any, classifier: Classifier) -> bytes:
    """Returns the page with the first correctly classified example, as PNG."""
    names = {path: path.stem.split("-or-") for path in find_images(ROOT / "examples")}
    correct = (path for path, accepted in names.items() if slug(classifier(path).label or "") in accepted)
    photo = next(correct, None)
    if photo is None:
        raise SystemExit("error: no example is classified correctly, so docs/page.png cannot show one")
    page.wait_for_selector("html[data-ready]")
    page.set_input_files("#file", photo)
    page.wait_for_selector("#whyfigure:not([hidden])")
    return bytes(page.screenshot(full_page=True))


def sizes(model: bytes) -> dict[str, int]:
    """Returns the bytes that a browser downloads, by kind of file."""
    files = page_files(model)
    kinds = {
        "model": ["model.bin"],
        "kernels, WebAssembly (both builds, for use offline)": list(KERNELS),
        "scripts": [name for name in files if name.endswith(".js")],
        "example photos": [name for name in files if name.startswith("samples/")],
    }
    found = {kind: sum(len(files[name]) for name in names) for kind, names in kinds.items()}
    return {**found, "text, style and icon": sum(map(len, files.values())) - sum(found.values())}


def call_times(page: Any, photos: list[Path], classifier: Classifier) -> dict[str, float]:
    """Returns the processor time of one call in milliseconds, by build of the kernels; other programs do not count."""
    images = [classifier.prepare(path)[0].ravel().tolist() for path in photos[:20]]
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def thread_seconds() -> float:
        metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
        return float(metrics["ThreadTime"])

    times = {}
    for kernels in KERNELS:
        page.evaluate(LOAD, {"kernels": kernels, "images": images})
        page.evaluate(CALL, WARM_UP)
        before = thread_seconds()
        page.evaluate(CALL, CALLS)
        times[kernels] = round(1000 * (thread_seconds() - before) / CALLS, 3)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    photos = list(find_images(options.folder))[: options.limit]
    if not photos:
        parser.error(f"no photos in {options.folder}")
    model, classifier = read_model(find_model(options.model)), Classifier.load(options.model)
    with browse(model) as page:
        times = call_times(page, photos, classifier)
        results = np.array([compare(page, classifier, path) for path in photos])
        picture = screenshot(page, classifier) if options.write else b""
        browser = page.context.browser.version
    document = {
        "machine": {**describe_machine(), "chromium": browser},
        "model_sha256": hashlib.sha256(model).hexdigest(),
        "photos": len(photos),
        "equal_pictures": int(results[:, 0].sum()),
        "equal_answers": int(results[:, 1].sum()),
        "largest_difference": float(results[:, 2].max()),
        "bytes": sizes(model),
        "call_ms": times,
    }
    print(page_agreement(document), times)
    if options.write:
        write_atomically(RESULTS / "page.json", json.dumps(document, indent=1) + "\n")
        write_atomically(ROOT / "docs/page.png", picture)
        write_tables("download", "page agreement", "page speed")


if __name__ == "__main__":
    main()
