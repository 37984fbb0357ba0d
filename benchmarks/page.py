"""Does the page in the browser answer as the command does? Both on the same photo files, each with its own decoder.

    python benchmarks/page.py FOLDER [--model FILE] [--limit N]

Prints how many photos give the same 28×28 picture and the same answer (rejections count as one), and the largest
difference of a probability. Needs chromium and the `test` extra.
"""

import argparse
import base64
import functools
import http.server
import shutil
import tempfile
import threading
from pathlib import Path

import numpy as np

from fmnist_runtime import Classifier
from fmnist_runtime.images import find_images
from fmnist_runtime.store import find_model, read_model
from fmnist_runtime.webpage import write_page

ASK = """async (text) => {
    const [{ decode }, { toNetworkInput }, { Classifier }] = await Promise.all(
        ["decode", "preprocess", "classifier"].map((name) => import(`./${name}.js`)));
    window.classifier ??= await Classifier.load();
    const file = new Blob([Uint8Array.from(atob(text), (character) => character.charCodeAt(0))]);
    const seen = toNetworkInput(await decode(file));
    const { label, probabilities } = await window.classifier.classify(seen);
    return { seen: [...seen], label, probabilities: [...probabilities] };
}"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


def compare(page: object, classifier: Classifier, path: Path) -> tuple[bool, bool, float]:
    """Whether the pictures are equal, whether the answers are, and the largest difference of a probability."""
    theirs = page.evaluate(ASK, base64.b64encode(path.read_bytes()).decode())
    views = classifier.prepare(path)
    ours = classifier.classify_inputs(views[None], top_k=len(classifier.labels))[0]
    probabilities = [top.probability for top in sorted(ours.top, key=lambda top: top.class_id)]
    difference = float(np.abs(np.subtract(theirs["probabilities"], probabilities)).max())
    return theirs["seen"] == views[0].ravel().tolist(), theirs["label"] == ours.label, difference


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    classifier = Classifier.load(options.model)
    photos = list(find_images(options.folder))[: options.limit]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        write_page(read_model(find_model(options.model)), Path(folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=folder))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        results = np.array([compare(page, classifier, path) for path in photos])
        browser.close()
    pictures, answers, _ = results.sum(axis=0)
    print(f"{len(photos)} photos: {pictures:.0f} equal pictures, {answers:.0f} equal answers, ", end="")
    print(f"probabilities differ by at most {results[:, 2].max():.2g}")


if __name__ == "__main__":
    main()
