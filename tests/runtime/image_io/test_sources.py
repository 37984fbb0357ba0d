"""Expansion of sources: names of systems and editors in folders of images are left out."""

import io
import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from fmnist_runtime import Classifier, ImageError
from fmnist_runtime.cli.inputs import FolderWatch
from fmnist_runtime.errors import DataError
from fmnist_runtime.image_io.decode import open_image
from fmnist_runtime.image_io.sources import describe_hidden, expand, find_images, is_hidden
from fmnist_runtime.workers.ray_batch import _paths_for_ray, _skipped_by_ray, _unreadable_table, _Visible


@pytest.mark.parametrize(
    "name",
    [
        ".a.png",
        "._1.png",
        "__MACOSX",
        "Thumbs.db",
        ".Trash-0",
        ".ipynb_checkpoints",
        "@eaDir",
        "#recycle",
        "@Recycle",
        "~snapshot",
        "RECYCLER",
    ],
)
def test_hidden(name: str) -> None:
    assert is_hidden(name)


@pytest.mark.parametrize("name", ["a.png", "1", "MACOSX", "a.b.png", "_a.png", "recycled"])
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


@pytest.mark.skipif(os.name != "posix", reason="links of Windows need a permission")
def test_a_link_that_cannot_be_followed_loses_no_other_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its type cannot be determined: it leads to itself, as here, into a private folder, or to a drive that is gone."""
    photos = [tmp_path / name for name in ("a.png", "sub/b.png", "sub/z.png")]
    (tmp_path / "sub").mkdir()
    for path in photos:
        Image.new("L", (28, 28)).save(path)
    links = [tmp_path / "loop", tmp_path / "sub" / "loop"]
    for link in links:
        link.symlink_to(link)
    hidden: list[str] = []
    assert list(find_images(tmp_path, hidden)) == photos
    assert set(hidden) == set(map(str, links))
    assert [source.error for source in expand([tmp_path], report=True)] == [None] * 3
    assert "left out 2 hidden or system names and links to folders, such as" in caplog.records[-1].message
    watch = FolderWatch(tmp_path, 0)
    for name in ("new.png", "sub/new.png"):
        Image.new("L", (28, 28)).save(tmp_path / name)
    assert watch.poll() == []
    assert watch.poll() == [str(tmp_path / name) for name in ("new.png", "sub/new.png")]
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")  # named like an image: opening it reports the reason
    assert tmp_path / "loop.png" in list(find_images(tmp_path))


def test_a_stream_and_a_watched_folder_count_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.png", "._a.png"):
        Image.new("L", (28, 28), 9).save(tmp_path / name)
    answers = list(Classifier.load("nano").stream([tmp_path]))
    assert [answer.path for answer in answers] == [str(tmp_path / "a.png")]
    FolderWatch(tmp_path, 1)
    assert [record.message.partition(" hidden")[0] for record in caplog.records] == [f"{tmp_path}: left out 1"] * 2


def test_ray_lists_the_same_pictures(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Ray's own listing takes ``sub/._d.png``, and leaves out ``_b.png`` without a word."""
    pytest.importorskip("pyarrow", reason="needs the extra `ray`")
    names = ["a.png", "_b.png", ".c.png", "sub/d.png", "sub/._d.png", "__MACOSX/._a.png", "_sub/e.png", "_sub/_f.png"]
    for name in [*names, ".trash/g.png", "_notes.txt"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / name, "PNG")
    skipped = _skipped_by_ray([str(tmp_path)])
    top = {"_b.png", ".c.png", "__MACOSX", "_sub", "_sub/_f.png", ".trash"}
    assert {str(Path(path).relative_to(tmp_path)) for path in skipped} == top
    visible = _Visible([str(tmp_path)])
    kept = visible([str(tmp_path / name) for name in names])
    assert kept == list(map(str, find_images_of(tmp_path, names)))
    visible.report()
    assert "left out 3 hidden" in caplog.records[-1].message


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_ray_follows_no_links_to_folders(scheme: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Ray's own listing does not end here: it follows both links, in each other, until the path is too long."""
    pytest.importorskip("pyarrow", reason="needs the extra `ray`")
    (tmp_path / "photos" / "sub").mkdir(parents=True)
    source = f"{scheme}{tmp_path / 'photos'}"
    for name in ("all", "sub/up"):
        (tmp_path / "photos" / name).symlink_to(tmp_path / "photos", target_is_directory=True)
    with pytest.raises(DataError, match="no pictures in the source; left out 2 hidden or system names and links"):
        _paths_for_ray([source], _Visible([source]))
    images = [str(tmp_path / "photos" / name) for name in ("a.png", "sub/b.png")]
    for path in images:
        Image.new("L", (4, 4)).save(path)
    visible = _Visible([source])
    assert _paths_for_ray([source], visible) == images == visible(images)
    visible.report()
    assert "left out 2 hidden or system names and links to folders" in caplog.records[-1].message
    for name in ("all", "sub/up"):
        (tmp_path / "photos" / name).unlink()
    assert _paths_for_ray([source], visible) == [source]  # quicker where there are no links


def test_ray_answers_for_what_cannot_be_opened(tmp_path: Path) -> None:
    """Ray itself ends the run at the first such file."""
    pa = pytest.importorskip("pyarrow", reason="needs the extra `ray`")
    (tmp_path / "b.png").symlink_to("nowhere")
    with pytest.raises(DataError, match=r"no pictures in the source; .*b\.png: cannot be read: .*a link to nowhere"):
        _paths_for_ray([str(tmp_path)], _Visible([str(tmp_path)]))
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    visible = _Visible([str(tmp_path)])
    assert _paths_for_ray([str(tmp_path)], visible) == [str(tmp_path / "a.png")]
    (row,) = _unreadable_table(visible).to_pylist()
    assert row["path"] == str(tmp_path / "b.png") and "a link to nowhere" in row["error"] and row["label"] is None
    assert _unreadable_table(visible).schema.field("error").type == pa.string()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_ray_answers_for_names_that_are_not_utf_8(tmp_path: Path) -> None:
    """Ray's listing ends at the first such name, of an image or not; archives of old systems have them."""
    pytest.importorskip("pyarrow", reason="needs the extra `ray`")
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    latin = os.fsencode(tmp_path) + b"/Jalape\xf1o"
    Path(os.fsdecode(latin + b".txt")).touch()
    visible = _Visible([str(tmp_path)])
    assert _paths_for_ray([str(tmp_path)], visible) == [str(tmp_path / "a.png")] and not visible.unreadable
    Path(os.fsdecode(latin + b".png")).write_bytes((tmp_path / "a.png").read_bytes())
    assert _paths_for_ray([str(tmp_path)], visible) == [str(tmp_path / "a.png")]
    (row,) = _unreadable_table(visible).to_pylist()
    assert row["path"].endswith("/Jalape\ufffdo.png") and row["error"].startswith("its name is not UTF-8")


def test_ray_counts_photos_in_files_of_other_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("pyarrow", reason="needs the extra `ray`")
    for name in (
        "a.png",
        "IMG_1.CR2",
        "_IMG_2.CR2",
        "sub/b.svg",
        ".c.heic.icloud",
        "notes.txt",
        ".trash/d.CR2",
        "bare",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / name, "PNG")
    paths = [str(path) for path in sorted(tmp_path.rglob("*")) if path.is_file() and path.name[0] not in "_."]
    visible = _Visible([str(tmp_path)])
    assert visible([*paths, *_skipped_by_ray([str(tmp_path)])]) == [str(tmp_path / "a.png")]
    visible.report()
    (line,) = [record.message for record in caplog.records]
    assert "2 camera raw files, such as" in line and "1 file of another format" in line
    assert "1 placeholder of a photo in iCloud" in line and "1 picture without a known extension" in line


def test_ray_names_what_it_found_instead_of_pictures() -> None:
    with pytest.raises(
        DataError, match=r"no pictures in the source; left out 2 camera raw files, such as shop/a/1\.CR2"
    ):
        _Visible(["s3://shop/a"])(["shop/a/1.CR2", "shop/a/2.nef", "shop/a/notes.txt"])


def find_images_of(folder: Path, names: list[str]) -> list[Path]:
    """The images of a folder, as the command finds them, in the order of these names."""
    return sorted(find_images(folder), key=lambda path: names.index(str(path.relative_to(folder))))


def test_an_uploaded_file_of_a_mac_is_named() -> None:
    with pytest.raises(ImageError, match="AppleDouble"):
        open_image(b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(80))


def test_what_is_named_is_taken(tmp_path: Path) -> None:
    (tmp_path / ".hidden").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / ".hidden" / "a.png")
    assert list(find_images(tmp_path / ".hidden")) == [tmp_path / ".hidden" / "a.png"]
    assert [source.name for source in expand([str(tmp_path / ".x.png")])] == [str(tmp_path / ".x.png")]


def test_hidden_files_of_systems_are_left_out(tmp_path: Path) -> None:
    for name in ("a.png", ".b.png", "._a.png", "__MACOSX/c.png", ".ipynb_checkpoints/d.png", ".Trash-1000/e.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / name)
    assert list(find_images(tmp_path)) == [tmp_path / "a.png"]
    hidden = tmp_path / ".Trash-1000"  # given by name, it is searched
    assert list(find_images(hidden)) == [Path(os.fspath(hidden), "e.png")]


@pytest.mark.parametrize(
    ("content", "advice"),
    [(b"book\0\0\0\0mark\0\0", "alias.*name the original"), (b"bplist00\xd3", "iCloud, download the photo")],
)
def test_stand_ins_of_a_mac_are_named(content: bytes, advice: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=advice):
        open_image(tmp_path / "a.jpg")


def test_photos_in_other_files_are_counted_by_kind(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A folder of raw photos once held "no pictures"."""
    Image.new("L", (4, 4)).save(tmp_path / "IMG_1", "PNG")
    for name in ("a.DNG", "b.cr3", "c.NEF", ".d.HEIC.icloud", "e.pdf", "notes.txt", "LICENSE", "f.xmp"):
        (tmp_path / name).write_bytes(b"II*\0" if name[0] in "abc" else b"text")
    (source,) = expand([str(tmp_path)], report=True)
    assert source.error is not None and not caplog.records
    assert source.error.startswith("the folder holds no pictures; left out 3 camera raw files, such as ")
    for part in (
        "(export as JPEG or PNG); 1 placeholder of a photo in iCloud, such as ",
        ".d.HEIC.icloud (download the photos first); 1 file of another format, such as ",
        "1 picture without a known extension, such as ",
        "IMG_1 (add .jpg or .png to the name)",
    ):
        assert part in source.error
    Image.new("L", (4, 4)).save(tmp_path / "h.png")
    assert [source.name for source in expand([str(tmp_path)], report=True)] == [str(tmp_path / "h.png")]
    (record,) = caplog.records
    assert "left out 3 camera raw files" in record.message


def test_stand_ins_for_photos_are_counted_by_kind(tmp_path: Path) -> None:
    """In a folder, where a file without a known extension is no picture of its own."""
    for name in ("IMG_1.jpg.nextcloud", "IMG_2.jpg.owncloud"):
        (tmp_path / name).write_bytes(b" ")
    for name in ("Dresses", "IMG_3.jpg alias"):
        (tmp_path / name).write_bytes(b"book\0\0\0\0mark\0\0")
    (tmp_path / "Coats.lnk").write_bytes(b"L\0\0\0")
    (source,) = expand([str(tmp_path)], report=True)
    assert source.error is not None
    assert (
        "2 placeholders of photos in a cloud, such as " in source.error
        and "(download the photos first)" in source.error
    )
    assert "3 aliases or shortcuts, such as " in source.error and "(put the original in its place)" in source.error


def test_pictures_of_unknown_extensions_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only files of unknown extensions are opened: others may be as many as the images."""
    starts = {
        **dict.fromkeys(["a.jps", "b.insp", "c.jpg_large", "Bildschirmfoto 1 um 10.00.00"], b"\xff\xd8\xff\xe0"),
        "d.heics": b"\0\0\0\x18ftyphevc",
        "e.avifs": b"\0\0\0\x18ftypavis",
        "f.j2c": b"\xff\x4f\xff\x51",
        "g.xyz": b"some text",
        "h.clip": b"\0\0\0\x18ftypisom",
        **dict.fromkeys(["i.txt", "j.json", "k.py"], b"\xff\xd8\xff\xe0"),
    }
    for name, start in starts.items():
        (tmp_path / name).write_bytes(start)
    opened: list[str] = []
    monkeypatch.setattr("builtins.open", lambda path, *args: (opened.append(path), io.FileIO(path))[1])
    hidden: list[str] = []
    assert list(find_images(tmp_path, hidden)) == []
    assert {Path(path).name for path in hidden} == set(starts) - {"g.xyz", "h.clip", "i.txt", "j.json", "k.py"}
    assert not [path for path in opened if path.endswith((".txt", ".json", ".py"))]
    assert describe_hidden(hidden).startswith("left out 7 pictures without a known extension, such as ")


def test_heif_of_cameras_is_read(tmp_path: Path) -> None:
    (tmp_path / "IMG_1.HIF").write_bytes(b"\0\0\0\x18ftypheix")
    assert list(find_images(tmp_path)) == [tmp_path / "IMG_1.HIF"]


def test_videos_are_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A phone keeps them beside its photos."""
    for name in ("IMG_1.MOV", "IMG_2.mp4"):
        (tmp_path / name).touch()
    with caplog.at_level("WARNING"):
        (source,) = expand([tmp_path])
    assert isinstance(source.error, str)
    assert f"no pictures; left out 2 videos, such as {tmp_path / 'IMG_1.MOV'} (export frames as" in source.error


def test_a_photo_library_of_a_mac_is_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It holds each photo as an original and as previews, so each was classified two times and more."""
    library = tmp_path / "My Photos.photoslibrary"
    for folder in ("originals", "resources/derivatives"):
        (library / folder).mkdir(parents=True)
        Image.new("L", (4, 4)).save(library / folder / "1.png")
    (source,) = expand([str(tmp_path)], report=True)
    named = f"left out 1 photo library, such as {library} (export the photos from the program first)"
    assert source.error == f"the folder holds no pictures; {named}"
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    assert [source.name for source in expand([str(tmp_path)], report=True)] == [str(tmp_path / "a.png")]
    assert named in caplog.records[-1].message


def test_archives_beside_photos_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Photos that are still packed would have no answer, without a word."""
    for name in ("iCloud Photos.ZIP", "b.7z", "live.livp", "._b.7z"):
        (tmp_path / name).write_bytes(b"PK")
    (source,) = expand([str(tmp_path)], report=True)
    assert source.error is not None and "no pictures; left out 3 archives, such as" in source.error
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    assert [source.name for source in expand([str(tmp_path)], report=True)] == [str(tmp_path / "a.png")]
    assert "left out 3 archives, such as" in caplog.text and "(unpack first)" in caplog.text


def test_unfinished_downloads_are_counted(tmp_path: Path) -> None:
    for name in ("a.jpg.crdownload", "b.jpg.PART", "c.txt"):
        (tmp_path / name).write_bytes(b"\xff\xd8\xff")
    (source,) = expand([str(tmp_path)])
    assert source.error is not None
    assert "left out 2 unfinished downloads, such as " in source.error and "(finish or repeat" in source.error


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("https://example.org/a.jpg?x=1", "a web address; download the picture"),
        ("file:///tmp/none.jpg", "name the path alone: /tmp/none.jpg"),
        ("~/none.jpg", "remove the quotes, or write the folder in full"),
        ("none*.jpg", "a pattern that no file matches"),
        ("*hidden.jpg", "a pattern that only hidden files match"),
        ("lin?.jpg", "patterns are expanded in arguments alone; name the files"),
        pytest.param("photos\\a.jpg", "a path of Windows", marks=pytest.mark.skipif(os.sep != "/", reason="separator")),
        ('"none.jpg"', "the quotes are part of the name"),
        ("none.jpg ", "begins or ends with a space"),
        ("link.jpg", "a link to gone.jpg, which does not exist"),
    ],
)
def test_a_missing_file_has_its_probable_cause(
    name: str, cause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.jpg").symlink_to("gone.jpg")
    (tmp_path / "._hidden.jpg").touch()
    classifier = Classifier.load("nano")
    (answer,) = classifier.stream([name])
    with pytest.raises(ImageError) as refusal:
        classifier(name)
    assert answer.error == str(refusal.value)
    assert answer.error.startswith("cannot be read: No such file or directory (")
    assert cause in answer.error


def test_a_link_to_itself_is_said_to_lead_back(tmp_path: Path) -> None:
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (answer,) = Classifier.load("nano").stream([tmp_path / "loop.jpg"])
    assert answer.error.endswith("(a link to loop.jpg, which leads back to it)")


def test_a_missing_file_without_a_probable_cause_is_only_missing(tmp_path: Path) -> None:
    assert [source.error for source in expand([str(tmp_path / "none.jpg")])] == [None]


def test_an_empty_path_is_named() -> None:
    classifier = Classifier.load("nano")
    (answer,) = classifier.stream([""])
    assert answer.error == "cannot be read: the path is empty"
    with pytest.raises(ImageError, match=f"^{answer.error}$"):
        classifier("")
