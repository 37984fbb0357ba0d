"""Names in folders of pictures that belong to systems and editors."""

from pathlib import Path

import pytest
from PIL import Image

from fmnist_runtime.image_io.sources import expand, find_images, is_hidden


@pytest.mark.parametrize(
    "name", [".a.png", "._1.png", "__MACOSX", "Thumbs.db", ".Trash-0", ".ipynb_checkpoints", "@eaDir"]
)
def test_hidden(name: str) -> None:
    assert is_hidden(name)


@pytest.mark.parametrize("name", ["a.png", "1", "MACOSX", "a.b.png", "_a.png"])
def test_not_hidden(name: str) -> None:
    assert not is_hidden(name)


def test_they_are_left_out_and_counted_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.png", "._a.png", ".hidden/b.png", "__MACOSX/._c.png", "sub/d.png", "sub/.e.png", "sub/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / name, "PNG")
    (tmp_path / "sub" / "up").symlink_to(tmp_path, target_is_directory=True)
    hidden: list[str] = []
    assert list(find_images(tmp_path, hidden)) == [tmp_path / "a.png", tmp_path / "sub" / "d.png"]
    assert {Path(path).name for path in hidden} == {"._a.png", ".hidden", "__MACOSX", ".e.png", "up"}
    assert [source.name for source in expand([str(tmp_path)], report=True)] == [
        str(tmp_path / "a.png"),
        str(tmp_path / "sub" / "d.png"),
    ]
    (record,) = caplog.records
    assert "left out 5 hidden or system names and links to folders" in record.message


def test_what_is_named_is_taken(tmp_path: Path) -> None:
    (tmp_path / ".hidden").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / ".hidden" / "a.png")
    assert list(find_images(tmp_path / ".hidden")) == [tmp_path / ".hidden" / "a.png"]
    assert [source.name for source in expand([str(tmp_path / ".x.png")])] == [str(tmp_path / ".x.png")]
