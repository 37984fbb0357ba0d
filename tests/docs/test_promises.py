"""The tests that docs/robustness.md names for each promise of the README."""

import re
from pathlib import Path

from fmnist_runtime.image_io import limits

ROOT = Path(__file__).parents[2]


def test_each_promise_is_kept_by_tests_that_exist() -> None:
    text = (ROOT / "docs" / "robustness.md").read_text("utf-8")
    (section,) = re.findall(r"## Tests of each claim\n(.*?)\n## ", text, re.DOTALL)
    rows = re.findall(r"^\| (?!promise)([^|]+) \| (.+) \|$", section, re.MULTILINE)
    assert len(rows) == 9
    for promise, tests in rows:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", tests)
        assert named and len(named) == tests.count("`") // 2, promise
        for path, name in named:
            source = (ROOT / "tests" / path).read_text("utf-8")
            assert re.search(rf"^(async )?def {name}\(", source, re.MULTILINE), f"{path}::{name}"


def test_the_readme_makes_these_promises() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    for promise in (
        "The same bits on every processor tried",
        "Figures you can repeat",
        "Private and offline",
        "Nothing is uploaded",
    ):
        assert promise in text


def test_the_limits_of_formats_are_stated_once_and_as_they_are() -> None:
    text = (ROOT / "docs" / "robustness.md").read_text("utf-8")
    names = {"HEIF": "HEIC", "WEBP": "WebP", "JPEG2000": "JPEG 2000"}
    for kind, (opaque, _) in limits._FORMAT_BYTES.items():
        name, millions = names.get(kind, kind), int(limits.MAX_DECODED_BYTES / opaque) // 1_000_000
        rows = re.findall(rf"^\| pixels, {name} \| (.*?) \|", text, re.MULTILINE)
        assert rows == [f"{millions} million"], name
