"""The page in a real browser, beside the command."""

import base64
import gzip
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from fmnist_runtime import Classifier
from fmnist_runtime.cli.infer import infer
from fmnist_runtime.image_io.decode import open_image
from fmnist_runtime.reject import SCORES

WEB = Path(__file__).parents[2] / "runtime" / "web"
EXAMPLES = Path(__file__).parents[2] / "examples"
VECTORS = json.loads(gzip.decompress(Path(__file__).with_name("golden.json.gz").read_bytes()))
PIXELS = "() => [...document.getElementById('seen').getContext('2d').getImageData(0, 0, 28, 28).data]"


def upload(page, name: str, data: bytes) -> None:
    page.set_input_files("#file", {"name": name, "mimeType": "image/png", "buffer": data})


def seen(page) -> np.ndarray:
    return np.array(page.evaluate(PIXELS), np.uint8).reshape(28, 28, 4)[..., 0]


def png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def command(capsys: pytest.CaptureFixture, path: Path) -> dict:
    assert infer([str(path), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", ["trouser", "dress", "sneaker", "sandal"])
def test_a_photo_gets_the_commands_answer(page, capsys: pytest.CaptureFixture, tmp_path: Path, name: str) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(png(Image.open(EXAMPLES / f"{name}.jpg")))
    upload(page, path.name, path.read_bytes())
    page.wait_for_selector("#whyfigure:not([hidden])")
    answer = command(capsys, path)
    assert page.inner_text("#label") == (answer["label"] or "I don't know")
    assert f"{answer['probability']:.1%}" in page.inner_text("#sure")
    for top in answer["top"]:
        assert re.search(rf"{top['label']}\s+{top['probability']:.1%}", page.inner_text("#bars"))
    assert np.array_equal(seen(page), Classifier.load().prepare(path)[0])


@pytest.mark.parametrize(("name", "label"), [("trousers", "Trouser"), ("coat", "Coat"), ("sneaker", "Sneaker")])
def test_the_page_has_photos_of_its_own_to_try(page, name: str, label: str) -> None:
    page.get_by_role("button", name=f"Example: {'a ' if label != 'Trouser' else ''}{name}").click()
    page.wait_for_selector("#whyfigure:not([hidden])")
    assert page.locator("#preview").is_visible()
    assert np.array_equal(seen(page), Classifier.load().prepare(WEB / "samples" / f"{label.lower()}.jpg")[0])


def test_a_large_picture_is_shrunk_as_the_command_does(page) -> None:
    data = png(Image.open(EXAMPLES / "shirt.jpg").resize((2600, 2101)))
    upload(page, "large.png", data)
    page.wait_for_selector("#result:not([hidden])")
    assert np.array_equal(seen(page), Classifier.load().prepare(data)[0])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_photo_is_turned_as_its_exif_states(page, kind: str) -> None:
    quarters = np.array([[[230, 20, 20], [20, 230, 20]], [[20, 20, 230], [200, 200, 20]]], np.uint8)
    picture = Image.fromarray(quarters.repeat(24, axis=0).repeat(16, axis=1))
    for orientation in range(1, 9):
        exif, file = Image.Exif(), io.BytesIO()
        exif[ExifTags.Base.Orientation] = orientation
        picture.save(file, kind, quality=95, exif=exif)
        url = f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
        script = """async (url) => {
            const blob = new Blob([Uint8Array.from(atob(url.split(",")[1]), (each) => each.charCodeAt(0))]);
            const { rgba, width, height } = await (await import("./decode.js")).decode(blob);
            return { rgba: Array.from(rgba), width, height };
        }"""
        shown = page.evaluate(script, url)
        pixels = np.array(shown["rgba"], np.uint8).reshape(shown["height"], shown["width"], 4)[..., :3].astype(int)
        expected = np.asarray(open_image(file.getvalue()).convert("RGB")).astype(int)
        assert pixels.shape == expected.shape, orientation
        assert np.abs(pixels - expected).mean() < 5, orientation


def test_noise_is_rejected(page, capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for attempt in range(40):  # the first noise that this model rejects
        path = tmp_path / f"{attempt}.png"
        path.write_bytes(png(Image.fromarray(rng.integers(0, 256, (28, 28), dtype=np.uint8))))
        if command(capsys, path)["rejected"]:
            break
    else:
        pytest.fail("the model rejects no noise")
    upload(page, path.name, path.read_bytes())
    page.wait_for_selector("#result:not([hidden])")
    assert page.inner_text("#label") == "I don't know"
    # As the command's reason: the page's model may be one of furniture.
    assert page.inner_text("#sure").startswith("Unlike the pictures of the model's classes. Perhaps ")


def test_nothing_is_found_in_an_empty_picture(page) -> None:
    upload(page, "gray.png", png(Image.new("RGB", (200, 150), (120, 120, 120))))
    page.wait_for_selector("#result:not([hidden])")
    assert page.inner_text("#label") == "I don't know"
    assert page.inner_text("#sure") == "Nothing in this picture stands out from its background."
    assert not seen(page).any()


def test_golden_vectors_in_the_browser(page, folder: Path) -> None:
    (folder / "golden.json").write_text(json.dumps(VECTORS))
    wrong = page.evaluate("""async () => {
        const { toNetworkInput } = await import("./pipeline.js");
        const bytes = (text) => Uint8ClampedArray.from(atob(text), (c) => c.charCodeAt(0));
        const vectors = await (await fetch("golden.json")).json();
        const same = ({ rgba, width, height, seen }) =>
            toNetworkInput({ rgba: bytes(rgba), width, height }).join() === bytes(seen).join();
        return vectors.filter((vector) => !same(vector)).map(({ name }) => name);
    }""")
    assert wrong == []


def test_the_evidence_is_that_of_the_reports(page) -> None:
    from fmnist_train.evaluation.occlusion import occlusion_maps

    classifier = Classifier.load()
    image = classifier.prepare(EXAMPLES / "sneaker.jpg")[0]
    found = page.evaluate(
        """async ({ image, first, second }) => {
        const [{ Classifier }, { occlusionMap }] = await Promise.all([import("./classifier.js"), import("./occlusion.js")]);
        return [...await occlusionMap(await Classifier.load(), Uint8Array.from(image), first, second)];
    }""",
        {"image": image.ravel().tolist(), "first": 7, "second": 9},
    )
    expected = occlusion_maps(lambda x: classifier.logits(x[:, None]), image[None], np.array([7]), np.array([9]))
    np.testing.assert_allclose(np.reshape(found, (28, 28)), expected[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("classes", [10, 1])
def test_scores_and_bits_equal_those_of_the_command(page, classes: int) -> None:
    logits = np.random.default_rng(0).normal(0, 4, classes).astype(np.float32)
    shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    found = page.evaluate(
        """async ({ logits, shares }) => {
        const { SCORES } = await import("./classifier.js");
        return Object.fromEntries(Object.entries(SCORES).map(([name, score]) => [name, score(logits, shares)]));
    }""",
        {"logits": logits.tolist(), "shares": shares.tolist()},
    )
    assert found == pytest.approx(
        {name: score(logits[None], shares[None])[0] for name, score in SCORES.items()}, rel=1e-5
    )
    assert "to the bit" in page.inner_text("#selftest") and " of " not in page.inner_text("#selftest")


def test_the_camera_runs_live_and_stops(page) -> None:
    page.click("#camera-tab")
    page.wait_for_selector("#result:not([hidden])")
    first = page.inner_text("#time")
    page.wait_for_timeout(1500)
    assert page.inner_text("#time") != first  # it goes on by itself
    page.evaluate("() => (window.tracks = document.getElementById('video').srcObject.getTracks())")
    page.click("#photo-tab")
    assert page.evaluate("() => window.tracks.map((track) => track.readyState)") == ["ended"]


def test_a_camera_that_is_left_while_it_starts_is_off(page) -> None:
    page.evaluate("""() => {
        const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = async (wish) => {
            await new Promise((resume) => { window.allow = resume; });
            return (window.stream = await real(wish));
        };
    }""")
    page.click("#camera-tab")
    page.click("#photo-tab")
    page.evaluate("() => window.allow()")
    page.wait_for_timeout(1000)
    assert page.evaluate("() => window.stream.getTracks().map((track) => track.readyState)") == ["ended"]


def test_a_drawing_gets_the_commands_answer(page) -> None:
    page.click("#draw-tab")
    box = page.locator("#canvas").bounding_box()
    for top, bottom in ((0.4, 0.3), (0.6, 0.7)):
        page.mouse.move(box["x"] + top * box["width"], box["y"] + 0.15 * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + bottom * box["width"], box["y"] + 0.85 * box["height"], steps=4)
        page.mouse.up()
    url = page.evaluate("() => document.getElementById('canvas').toDataURL()")
    label = Classifier.load()(base64.b64decode(url.partition(",")[2])).label or "I don't know"
    page.wait_for_selector(f'#label:text-is("{label}")')
    page.click("#clear")
    assert page.locator("#result").is_hidden()


def test_the_keyboard_is_enough(page) -> None:
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")  # from Photo, round the corner, to Draw
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.id") == "canvas"
    for key in ("Space", *["ArrowDown"] * 6, "Space", "ArrowRight"):
        page.keyboard.press(key)
    page.wait_for_selector("#whyfigure:not([hidden])")
    assert page.locator("#canvas").evaluate(
        "(canvas) => [...canvas.getContext('2d').getImageData(140, 190, 1, 1).data]"
    )[:3] == [238, 238, 238]


def test_it_works_without_a_network(page) -> None:
    page.evaluate("async () => void await navigator.serviceWorker.ready")
    page.context.set_offline(True)
    page.reload()
    page.wait_for_selector("html[data-ready]")
    upload(page, "shirt.jpg", (EXAMPLES / "shirt.jpg").read_bytes())
    page.wait_for_selector("#result:not([hidden])")


def test_nothing_is_sent_and_nothing_foreign_runs(browser, site: str) -> None:
    with browser.new_context() as context:
        requests: list = []
        context.on("request", lambda request: requests.append(request))
        page = context.new_page()
        errors: list[str] = []
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(site)
        page.wait_for_selector("html[data-ready]")
        upload(page, "dress.jpg", (EXAMPLES / "dress.jpg").read_bytes())
        page.wait_for_selector("#whyfigure:not([hidden])")
        assert errors == []
        assert all(request.url.startswith((site, f"blob:{site}")) and not request.post_data for request in requests)
        refused = page.evaluate("() => fetch('https://example.org/').then(() => false, () => true)")
        page.evaluate(
            "() => document.head.append(Object.assign(document.createElement('script'), { text: 'window.ran = true' }))"
        )
        assert refused and page.evaluate("() => window.ran === undefined")
        assert sum("Content Security Policy" in error for error in errors) >= 2


@pytest.mark.parametrize("width", [360, 1100])
def test_light_dark_and_narrow(page, width: int) -> None:
    upload(page, "dress.jpg", (EXAMPLES / "dress.jpg").read_bytes())
    page.wait_for_selector("#whyfigure:not([hidden])")
    page.set_viewport_size({"width": width, "height": 760})
    backgrounds = set()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        backgrounds.add(page.evaluate("() => getComputedStyle(document.documentElement).backgroundColor"))
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    assert len(backgrounds) == 2


def test_a_file_that_is_no_picture_gets_a_message(page) -> None:
    upload(page, "x.png", b"no picture")
    page.wait_for_selector("#message:not(:empty)")
    assert "not a picture" in page.inner_text("#message") and page.locator("#result").is_hidden()


@pytest.mark.parametrize(
    ("start", "name"),
    [(b"\0\0\0\x18ftypheic", "a HEIC photo"), (b"II*\0", "a TIFF"), (b"\0\0\0\x18ftypqt  ", "a video")],
)
def test_a_format_that_the_browser_does_not_read_is_named(page, start: bytes, name: str) -> None:
    upload(page, "photo.heic", start + bytes(100))
    page.wait_for_selector("#message:not(:empty)")
    message = page.inner_text("#message")
    assert message.startswith(f"This is {name}") and "convert it to JPEG" in message


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_half_a_picture_is_damaged(page, kind: str) -> None:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(file, kind)
    upload(page, "half", file.getvalue()[: len(file.getvalue()) // 2])
    page.wait_for_selector("#message:not(:empty)")
    assert page.inner_text("#message").startswith("This picture is damaged or incomplete")
    assert page.locator("#result").is_hidden()


def test_an_empty_file_is_named_as_such(page) -> None:
    upload(page, "dress.jpg", b"")
    page.wait_for_selector("#message:not(:empty)")
    assert page.inner_text("#message") == "This file is empty." and page.locator("#result").is_hidden()


def test_a_damaged_model_is_refused(browser, site: str, folder: Path) -> None:
    data = bytearray((folder / "model.bin").read_bytes())
    data[len(data) // 2] ^= 1
    with browser.new_context(service_workers="block") as context:
        page = context.new_page()
        page.route("**/model.bin", lambda route: route.fulfill(body=bytes(data)))
        page.goto(site)
        page.wait_for_selector("#message:not(:empty)")
        assert "damaged" in page.inner_text("#message")
