"""Files of an export: sizes, checksums, and the copy in the runtime package."""

import contextlib
import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fmnist_export.artifacts import publish, publish_model
from fmnist_export.evidence import collect_evidence
from fmnist_runtime import files
from fmnist_runtime.errors import ConfigError, ModelError
from fmnist_train.files import lock_folder
from fmnist_train.training.run import RUN_FILES

SHIPPED = Path(__file__).parents[2] / "artifacts" / "nano"
"""The smallest model that ships."""
FILES = ["model.onnx", "model.ort", "model.fp16.onnx", "model.int8.onnx", "model.int8.ort"]


def test_the_report_lists_all_sizes_and_the_sums_cover_all_files(exported: Path) -> None:
    sizes = json.loads((exported / "parity.json").read_text())["sizes"]
    assert [about["file"] for about in sizes] == FILES
    text = (exported / "parity.txt").read_text()
    for about in sizes:
        assert (
            about["bytes"] == (exported / about["file"]).stat().st_size > about["compressed"] and about["file"] in text
        )
    assert sorted(line.split()[1] for line in (exported / "SHA256SUMS").read_text().splitlines()) == sorted(FILES)
    by_name = {about["file"]: about["bytes"] for about in sizes}
    assert by_name["model.fp16.onnx"] < 0.52 * by_name["model.onnx"]


def test_publishing_lists_a_checked_model(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("nano\n")
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("model.int8.onnx", "SHA256SUMS"):
        (folder / name).write_bytes((SHIPPED / name).read_bytes())
    assert publish_model(folder, names) == folder / "model.int8.onnx"
    assert names.read_text() == "mine\nnano\n"
    publish_model(folder, names)
    assert names.read_text() == "mine\nnano\n"
    (folder / "model.int8.onnx").write_bytes((SHIPPED / "model.onnx").read_bytes())
    with pytest.raises(ModelError, match="another file"):
        publish_model(folder, names)


@pytest.fixture
def earlier(exported: Path, tmp_path: Path) -> tuple[Path, dict]:
    """A folder with an earlier export of the same network, and the report of the next one."""
    for path in exported.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path, json.loads((exported / "parity.json").read_text())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("writes", range(8))
def test_a_full_disk_leaves_the_earlier_files_whole(
    writes: int, earlier: tuple[Path, dict], exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, report = earlier
    before, left = contents(folder), [writes]
    replace = files._replace

    def write(path: Path, data: bytes) -> None:
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        left[0] -= 1
        replace(path, data)

    monkeypatch.setattr(files, "_replace", write)
    with pytest.raises(OSError, match="No space left"):
        publish(exported, folder, {**report, "checkpoint_sha256": "of other weights, so that all files are stale"})
    assert contents(folder) == before


def test_a_killed_export_leaves_no_evidence_of_other_weights_unnoticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever ``--evidence`` is killed, what is left of the former evidence includes the file that a later export checks."""
    run, folder = SHIPPED.parent / "micro", tmp_path / "out"
    report, former = json.loads((run / "parity.json").read_text()), contents(SHIPPED)
    new = contents(run) | collect_evidence(run, SHIPPED, report)[0]

    def left_after(steps: int) -> dict[str, bytes]:
        counter = iter(range(steps))

        def dying(method: Callable[..., object]) -> Callable[..., object]:
            def call(path: Path, *others: Path, **options: bool) -> object:
                target = [path, *others][-1]
                if target.parent == folder and target.name[0] != "." and next(counter, None) is None:
                    raise KeyboardInterrupt
                return method(path, *others, **options)

            return call

        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(SHIPPED, folder)
        evidence = collect_evidence(run, folder, report)
        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            patch.setattr(Path, "unlink", dying(Path.unlink))
            patch.setattr(Path, "replace", dying(Path.replace))
            publish(run, folder, report, evidence)
        return contents(folder)

    states = 0
    while (left := left_after(states)) != left_after(states + 1):
        states += 1
        stale = {name for name in ("README.md", *RUN_FILES) if left.get(name) == former[name] != new[name]}
        assert not stale or "metrics.json" in stale
        assert not stale or left.get("model.int8.onnx") != new["model.int8.onnx"]
    assert states > 20 and left["README.md"] == new["README.md"]


def test_a_damaged_list_of_sums_is_replaced(earlier: tuple[Path, dict], exported: Path) -> None:
    folder, report = earlier
    (folder / "SHA256SUMS").write_bytes(b"\xff\xfe \x00\nword\n" + b"0" * 64 + b"  other.onnx\n")
    publish(exported, folder, report)
    assert sorted(line.split()[1] for line in (folder / "SHA256SUMS").read_text().splitlines()) == sorted(
        [*FILES, "other.onnx"]
    )


def test_two_exports_into_one_folder_do_not_mix(earlier: tuple[Path, dict], exported: Path) -> None:
    folder, report = earlier
    before = contents(folder)
    with lock_folder(folder), pytest.raises(ConfigError, match="another process is exporting into"):
        publish(exported, folder, report)
    assert contents(folder) == before
