"""Probable causes of a missing file."""

import os
import unicodedata
from pathlib import Path

import pytest

from fmnist_runtime.image_io.missing import describe_missing

SCREENSHOT = "Screenshot at 3.14\N{NARROW NO-BREAK SPACE}PM.png"
"""A name as recent versions of macOS give it."""


@pytest.fixture(autouse=True)
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / unicodedata.normalize("NFD", "Fotos für Öle")
    folder.mkdir()
    for name in ("a b.jpg", "a [1].jpg", "IMG_1.JPG", SCREENSHOT):
        (folder / name).write_bytes(b"")
    (tmp_path / "photo 2.jpg").write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("file:///tmp/a%20b/gr%C3%BCn.jpg", "name the path alone: /tmp/a b/grün.jpg"),
        ("file://localhost/tmp/none.jpg", "name the path alone: /tmp/none.jpg"),
        ("data:image/png;base64,AAAA", "a data: address; save the picture as a file"),
        ("“none.jpg”", "the quotes are part of the name"),
        ("„none.jpg“", "the quotes are part of the name"),
        ("‘none.jpg’", "the quotes are part of the name"),
        ("photo 2.jpg,Trouser", "a row of a table"),
        ('"photo 2.jpg";Trouser', "a row of a table"),
        (os.fsdecode(b"gro\xdf.jpg"), "not UTF-8, the encoding of names"),
        ("photo", "a name with spaces needs quotes: 'photo 2.jpg'"),
    ],
)
def test_what_was_meant_is_named(name: str, cause: str) -> None:
    found = describe_missing(name)
    assert found is not None and cause in found


@pytest.mark.skipif(os.sep != "/", reason="there, a backslash separates folders")
@pytest.mark.parametrize("name", ["photo\\ 2.jpg", "Fotos\\ (1)/a\\ \\[1\\].jpg", "a\\&b.jpg"])
def test_backslashes_of_a_dragged_file_are_not_those_of_windows(name: str) -> None:
    found = describe_missing(name)
    assert found is not None and "without the backslashes" in found


@pytest.mark.parametrize("name", ["photos\\a.jpg", "C:\\Users\\me\\my photo.jpg"])
@pytest.mark.skipif(os.sep != "/", reason="there, a backslash separates folders")
def test_paths_of_windows_stay_such(name: str) -> None:
    assert describe_missing(name) == "a path of Windows; the separator here is /"


@pytest.mark.parametrize(
    ("given", "name"),
    [("a B.jpg", "a b.jpg"), ("img_1.jpg", "IMG_1.JPG"), ("Screenshot at 3.14 PM.png", SCREENSHOT)],
)
def test_a_name_in_another_form_is_found(photos: Path, given: str, name: str) -> None:
    folder = unicodedata.normalize("NFC", photos.name)
    if os.path.lexists(f"{folder}/{given}"):
        pytest.skip("this file system does not distinguish the two")
    found = describe_missing(f"{folder}/{given}")
    shown = name.replace("\N{NARROW NO-BREAK SPACE}", "\\u202f")
    assert found is not None and f"differ from those of {photos.name}/{shown};" in found
    absolute = describe_missing(str(photos.parent / folder / given))
    assert absolute is not None and str(photos) in absolute


@pytest.mark.parametrize(
    "name", ["none.jpg", "none/none.jpg", "IMG", "nul\0.jpg", "x" * 5000, "photo 2.jpg/x", "/", "//"]
)
def test_other_missing_names_have_no_cause(name: str) -> None:
    assert describe_missing(name) is None


def test_a_million_missing_names_read_a_folder_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: reads.append(path) or scan(path))
    assert {describe_missing(f"none{number}.jpg") for number in range(100)} == {None}
    assert len(reads) == 1
