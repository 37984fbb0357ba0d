"""The page on the screen: an answer stands beside its own picture, or not at all."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fmnist_runtime import Classifier

EXAMPLES = Path(__file__).parents[2] / "examples"
PIXELS = "() => [...document.getElementById('seen').getContext('2d').getImageData(0, 0, 28, 28).data]"
ANSWER = "#result:not([hidden])"
MOST_PROBABLE = [f"class {i}" for i in range(59, 49, -1)]
GIVE = """({ way, bytes, text, before }) => {
    const data = new DataTransfer();
    if (before) data.items.add(new File([before], "before.txt", { type: "text/plain" }));
    if (bytes) data.items.add(new File([Uint8Array.from(bytes)], "photo.png", { type: "image/png" }));
    else data.setData("text/plain", text);
    const event = way === "paste" ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true })
        : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
    document.body.dispatchEvent(event);
    return event.defaultPrevented;
}"""


def png(name: str) -> bytes:
    file = io.BytesIO()
    Image.open(EXAMPLES / f"{name}.jpg").save(file, "PNG")
    return file.getvalue()


def upload(page, data: bytes) -> None:
    page.set_input_files("#file", {"name": "photo.png", "mimeType": "image/png", "buffer": data})


def answers(page, name: str) -> bool:
    """Whether the answer is the one to this example."""
    seen = np.array(page.evaluate(PIXELS), np.uint8).reshape(28, 28, 4)[..., 0]
    return page.locator(ANSWER).is_visible() and np.array_equal(seen, Classifier.load().prepare(png(name))[0])


def hold_the_first_decoding(page) -> None:
    page.evaluate("""() => {
        const real = window.createImageBitmap;
        window.createImageBitmap = async (...wishes) => {
            window.createImageBitmap = real;
            await new Promise((resume) => { window.goOn = resume; });
            return real(...wishes);
        };
    }""")


@pytest.fixture
def answered(page):
    """The page with the answer to an earlier photo on it."""
    upload(page, png("dress"))
    page.wait_for_selector("#whyfigure:not([hidden])")
    return page


def test_a_photo_that_is_decoded_late_does_not_replace_a_newer_one(page) -> None:
    hold_the_first_decoding(page)
    upload(page, png("sandal"))
    upload(page, png("trouser"))
    page.wait_for_selector("#whyfigure:not([hidden])")
    page.evaluate("() => window.goOn()")
    page.wait_for_timeout(2000)
    assert answers(page, "trouser")


def test_a_photo_that_is_decoded_late_is_not_answered_on_another_tab(page) -> None:
    hold_the_first_decoding(page)
    upload(page, png("sandal"))
    page.click("#draw-tab")
    page.evaluate("() => window.goOn()")
    page.wait_for_timeout(2000)
    assert page.locator("#result").is_hidden() and page.locator("#hint").is_visible()


def test_a_broken_file_that_fails_late_shows_no_message(page) -> None:
    hold_the_first_decoding(page)
    upload(page, b"no picture")
    upload(page, png("trouser"))
    page.wait_for_selector("#whyfigure:not([hidden])")
    page.evaluate("() => window.goOn()")
    page.wait_for_timeout(1000)
    assert answers(page, "trouser") and page.inner_text("#message") == "" and page.locator("#preview").is_visible()


def test_a_broken_file_takes_the_earlier_answer_away(answered) -> None:
    upload(answered, b"no picture")
    answered.wait_for_selector("#message:not(:empty)")
    for name in ("#result", "#preview", "#whyfigure"):
        assert answered.locator(name).is_hidden()


def test_a_missing_camera_takes_the_earlier_answer_away(answered) -> None:
    answered.evaluate("""() => {
        navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("", "NotFoundError"); };
    }""")
    answered.click("#camera-tab")
    answered.wait_for_selector("#message:not(:empty)")
    assert answered.inner_text("#message") == "There is no camera to use." and answered.locator("#result").is_hidden()


def test_each_tab_has_the_answer_to_what_it_shows(answered) -> None:
    answered.click("#draw-tab")
    assert answered.locator("#result").is_hidden()  # nothing is drawn yet
    answered.click("#photo-tab")
    answered.wait_for_selector("#whyfigure:not([hidden])")
    assert answered.locator("#preview").is_visible() and answers(answered, "dress")


def test_the_cameras_answer_does_not_stay_without_the_camera(page) -> None:
    page.click("#camera-tab")
    page.wait_for_selector(ANSWER)
    page.click("#photo-tab")
    assert page.locator("#result").is_hidden()  # no photo is chosen yet
    page.wait_for_timeout(1000)
    assert page.locator("#result").is_hidden()


def test_a_camera_is_off_after_an_error(page) -> None:
    page.click("#camera-tab")
    page.wait_for_selector(ANSWER)
    page.evaluate("""() => {
        window.tracks = document.getElementById("video").srcObject.getTracks();
        OffscreenCanvas.prototype.getContext = () => { throw new Error("no memory for this"); };
    }""")
    page.wait_for_selector("#message:not(:empty)")
    assert page.inner_text("#message") == "no memory for this" and page.locator("#result").is_hidden()
    assert page.evaluate("() => window.tracks.map((track) => track.readyState)") == ["ended"]


@pytest.mark.parametrize("way", ["paste", "drop"])
def test_a_photo_can_be_pasted_and_dropped(answered, way: str) -> None:
    answered.click("#draw-tab")
    kept_from_the_browser = answered.evaluate(GIVE, {"way": way, "bytes": list(png("sneaker"))})
    answered.wait_for_selector("#whyfigure:not([hidden])")
    assert answers(answered, "sneaker") and answered.locator("#preview").is_visible()
    assert kept_from_the_browser or way == "paste"


def test_pasted_text_changes_nothing(answered) -> None:
    answered.evaluate(GIVE, {"way": "paste", "text": "no picture"})
    answered.wait_for_timeout(500)
    assert answers(answered, "dress") and answered.inner_text("#message") == ""
    assert answered.locator("#preview").is_visible()


def test_dropped_text_gets_a_message_and_changes_nothing_else(answered) -> None:
    answered.evaluate(GIVE, {"way": "drop", "text": "no picture"})
    answered.wait_for_selector("#message:not(:empty)")
    assert answers(answered, "dress") and answered.locator("#preview").is_visible()


@pytest.mark.parametrize("way", ["paste", "drop"])
def test_of_several_files_the_first_picture_is_named(answered, way: str) -> None:
    answered.evaluate(GIVE, {"way": way, "before": "notes", "bytes": list(png("sneaker"))})
    answered.wait_for_selector("#message:not(:empty)")
    assert answered.inner_text("#message") == "One picture at a time: this is photo.png." and answers(
        answered, "sneaker"
    )
    answered.click("#draw-tab")
    assert answered.inner_text("#message") == ""


def test_the_largest_share_stays_on_one_line_of_a_small_phone(answered) -> None:
    answered.set_viewport_size({"width": 360, "height": 640})
    heights, inside = answered.evaluate("""() => {
        const shares = [...document.querySelectorAll("#bars li span:last-child")];
        shares[0].textContent = "100.0%";
        shares[0].parentElement.classList.add("best");
        const heights = new Set(shares.map((share) => share.offsetHeight));
        return [heights.size, shares.every((share) => share.scrollWidth <= share.offsetWidth)];
    }""")
    assert heights == 1 and inside


@pytest.mark.parametrize(("classes", "shown"), [(10, [f"class {i}" for i in range(10)]), (60, MOST_PROBABLE)])
def test_of_many_classes_the_most_probable_are_shown(page, classes: int, shown: list[str]) -> None:
    names = page.evaluate(
        """async (classes) => {
            const { View } = await import("./view.js");
            const bars = document.getElementById("bars");
            bars.replaceChildren();
            const view = new View(), order = [...Array(classes).keys()].reverse();
            const labels = [...Array(classes).keys()].map((i) => `class ${i}`);
            view.prepareBars(labels);
            const probabilities = Float32Array.from(labels, (_, i) => i / 2000);
            view.showAnswer({ order, probabilities, label: null, rejected: true }, labels, new Uint8Array(784));
            return [...bars.children].map((row) => row.firstChild.textContent);
        }""",
        classes,
    )
    assert names == shown
