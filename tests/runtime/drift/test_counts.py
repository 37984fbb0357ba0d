"""Encodings of the files that drift reads, and structured mutations of them."""

import codecs
import gzip
import json
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnist_runtime.drift.counts import EDGES, read_counts
from fmnist_runtime.drift.permutation import detect_drift
from fmnist_runtime.errors import DataError

ANSWER = {"path": "x", "label": "Bag", "class_id": 8, "probability": 0.7, "top": [], "rejected": False}
LINES = "".join(json.dumps(ANSWER) + "\n" for _ in range(7))
METRICS = "".join(f'fmnist_confidence_bucket{{le="{edge}"}} 0\n' for edge in EDGES) + (
    'fmnist_confidence_bucket{le="+Inf"} 5\nfmnist_answers_total{label="Bag"} 4\nfmnist_rejected_total 1\n'
)


@pytest.mark.parametrize("text", [LINES, METRICS])
def test_a_byte_order_mark_is_no_matter(tmp_path: Path, text: str) -> None:
    plain, marked, joined = tmp_path / "plain", tmp_path / "marked", tmp_path / "joined"
    plain.write_text(text)
    marked.write_bytes(codecs.BOM_UTF8 + text.encode())
    joined.write_bytes(marked.read_bytes() * 2)
    assert read_counts(marked).total == read_counts(plain).total > 0
    assert read_counts(joined).total == 2 * read_counts(plain).total


@pytest.mark.parametrize("text", [LINES, METRICS])
def test_what_a_rotation_with_copytruncate_leaves_is_no_matter(tmp_path: Path, text: str) -> None:
    (tmp_path / "day").write_bytes(bytes(5000) + text.encode())
    assert read_counts(tmp_path / "day").total == (7 if text is LINES else 5)


def test_unreadable_images_are_counted_apart(tmp_path: Path) -> None:
    error = json.dumps({"path": "x", "error": "damaged"})
    (tmp_path / "day").write_text(LINES + f"{error}\n" * 3)
    (tmp_path / "reading").write_text(METRICS + "fmnist_unreadable_total 3\n")
    (tmp_path / "before").write_text(METRICS + "fmnist_unreadable_total 1\n")
    answers, reading = read_counts(tmp_path / "day"), read_counts(tmp_path / "reading")
    assert (answers.total, answers.unreadable, reading.total, reading.unreadable) == (7, 3, 5, 3)
    (tmp_path / "later").write_text((tmp_path / "reading").read_text() * 2)
    assert read_counts(tmp_path / "later").since(read_counts(tmp_path / "before")).unreadable == 5


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("text", [LINES, METRICS])
def test_utf16_is_named(tmp_path: Path, encoding: str, text: str) -> None:
    (tmp_path / "day").write_bytes(text.encode(encoding))
    with pytest.raises(DataError, match="UTF-16, not UTF-8"):
        read_counts(tmp_path / "day")


def test_a_picture_is_not_called_utf16() -> None:
    with pytest.raises(DataError, match="not text; expected lines"):
        read_counts(Path(__file__).parents[3] / "examples" / "shirt.jpg")


def test_labels_that_are_no_text_are_those_of_the_metrics(tmp_path: Path) -> None:
    (tmp_path / "answers").write_text(json.dumps(ANSWER | {"label": "a\udcff"}))
    assert list(read_counts(tmp_path / "answers").labels) == ["a\\udcff"]


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2), st.just(10**400),
)  # fmt: skip


@st.composite
def answer_files(draw: st.DrawFn) -> bytes:
    """Lines of answers with fields added, removed, doubled or replaced, then with a slice removed or doubled."""
    lines = []
    for _ in range(draw(st.integers(0, 4))):
        answer: dict = dict(ANSWER)
        for _ in range(draw(st.integers(0, 2))):
            answer[draw(st.sampled_from([*ANSWER, "error", "answers", "more"]))] = draw(VALUES)
        if draw(st.integers(0, 4)) == 0:
            del answer[draw(st.sampled_from(sorted(answer)))]
        if draw(st.integers(0, 4)) == 0:
            answer = {"answers": draw(st.sampled_from([[answer, answer], answer, [], [None], "text"]))}
        lines.append(json.dumps(answer))
    data = draw(st.sampled_from(["\n", "", " ", "\r\n"])).join(lines).encode()
    return mutate(draw, data)


@st.composite
def metric_files(draw: st.DrawFn) -> bytes:
    """Metrics with values replaced and lines doubled or removed, then with a slice removed or doubled."""
    lines = METRICS.splitlines()
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(lines) - 1))
        head = lines[place].rpartition(" ")[0]
        value = draw(st.sampled_from(["nan", "-1", "1e400", "9" * 30, "", "0", "3.5", "{", "inf"]))
        lines[place] = draw(
            st.sampled_from([f"{head} {value}", "", lines[place] + "\n" + lines[place], "}{", "# " + head])
        )
    return mutate(draw, "\n".join(lines).encode())


def mutate(draw: st.DrawFn, data: bytes) -> bytes:
    for _ in range(draw(st.integers(0, 2))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 20)))
        middle = draw(st.sampled_from([b"", data[start:end] * 2, b"\xff", b"\0", b'"', b"[" * 3000, codecs.BOM_UTF8]))
        data = data[:start] + middle + data[end:]
    return data


@pytest.mark.slow
@settings(max_examples=400)
@given(st.one_of(answer_files(), metric_files()))
def test_mutated_files_are_counted_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated"
    path.write_bytes(data)
    try:
        counts = read_counts(path)
    except DataError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error).strip()
    else:
        assert counts.total > 0 and counts.rejected >= 0 and min(counts.labels.values(), default=0) >= 0


@settings(max_examples=20)
@given(metric_files(), metric_files())
def test_whatever_can_be_read_can_be_compared(
    tmp_path_factory: pytest.TempPathFactory, first: bytes, second: bytes
) -> None:
    readings = []
    for data in (first, second):
        path = tmp_path_factory.getbasetemp() / "compared"
        path.write_bytes(data)
        try:
            readings.append(read_counts(path))
        except DataError:
            return
    for finding in detect_drift(*readings):
        assert 0 < finding.p <= 1 and 0 <= finding.size <= 1.000001


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("rejected", "false", "str, not bool"),  # a text is true
        ("rejected", None, "NoneType, not bool"),
        ("label", None, "NoneType, not str"),
        ("label", ["Coat"], "list, not str"),
        ("probability", "0.5", "str, not float"),
        ("probability", True, "bool, not float"),
    ],
)
def test_values_of_other_types_are_refused(key: str, value: object, found: str, tmp_path: Path) -> None:
    (tmp_path / "day").write_text(json.dumps({"label": "Coat", "probability": 1, "rejected": False} | {key: value}))
    with pytest.raises(DataError, match=f"line 1 is not an answer .*'{key}' is {found}"):
        read_counts(tmp_path / "day")


@pytest.mark.parametrize("text", [LINES, METRICS])
def test_a_gzipped_file_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "plain").write_text(text)
    (tmp_path / "day.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "joined").write_bytes(gzip.compress(text.encode()) * 2)
    total = read_counts(tmp_path / "plain").total
    assert read_counts(tmp_path / "day.gz").total == total and read_counts(tmp_path / "joined").total == 2 * total


@pytest.mark.parametrize("cut", [slice(-9), slice(12), slice(2)])
def test_a_damaged_gzip_file_is_named(tmp_path: Path, cut: slice) -> None:
    for data in (gzip.compress(LINES.encode())[cut], gzip.compress(LINES.encode())[:10] + b"\xff" * 30):
        (tmp_path / "day").write_bytes(data)
        with pytest.raises(DataError, match="day: a damaged or incomplete gzip file"):
            read_counts(tmp_path / "day")


def test_a_gzip_file_that_unpacks_to_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fmnist_runtime.drift.counts._MAX_BYTES", 1000)
    (tmp_path / "day").write_bytes(gzip.compress(b" " * 100_000))
    with pytest.raises(DataError, match="larger than"):
        read_counts(tmp_path / "day")


def test_a_file_over_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fmnist_runtime.drift.counts._MAX_BYTES", 100)
    (tmp_path / "day").write_text(LINES)
    with pytest.raises(DataError, match="larger than"):
        read_counts(tmp_path / "day")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a message\n" + LINES, r"line 1 is not JSON"),
        (LINES + "a message\n", r"line 8 is not JSON"),
        (
            f"[{LINES.strip().replace(chr(10), ',')}]",
            r"line 1 is not an answer of .*: an answer is not an object in braces, but a list: .* \(jq -c '\.\[\]'\)",
        ),
    ],
)
def test_answers_among_other_text_are_named(text: str, fault: str, tmp_path: Path) -> None:
    (tmp_path / "day").write_text(text)
    with pytest.raises(DataError, match=fault):
        read_counts(tmp_path / "day")


def test_labels_without_anything_in_common_are_not_called_as_before(tmp_path: Path) -> None:
    for name in ("before", "now"):
        lines = [json.dumps(ANSWER | {"label": f"{name}{number}"}) for number in range(20)]
        (tmp_path / name).write_text("\n".join(lines))
    with pytest.raises(DataError, match="not answers of one model"):
        detect_drift(read_counts(tmp_path / "before"), read_counts(tmp_path / "now"))


def test_a_file_that_would_take_gigabytes_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "day").open("wb") as file:
        file.truncate((1 << 27) + 1)  # takes no space on the disk
    with pytest.raises(DataError, match="larger than 128 MiB; compare a part"):
        read_counts(tmp_path / "day")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"probability": 1.5, "label": "Coat", "rejected": false}', "1.5 is not a probability from 0 to 1"),
        ('{"label": "Coat", "rejected": false}', "'probability' is missing"),
        ('{"answers": 5}', "'answers' is not a list"),
        ('{"answers": ["an error"]}', "an answer is not an object in braces"),
        ('{"answers": [5]}', "an answer is not an object in braces"),
        ('{} ["Coat"]', "'probability' is missing"),
        (
            '{"time": "2026-01-01T00:00:00.000+00:00", "level": "info", "event": "listening", "port": 8000}',
            "it is of the service's log, which has no answers; save the responses, or a reading of /metrics",
        ),
        ('{"probability": 1' + 400 * "0" + "}", "int too large to convert to float"),
    ],
)
def test_the_reason_is_in_plain_words(line: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "day").write_text(f"\n{line}")
    with pytest.raises(DataError) as refusal:
        read_counts(tmp_path / "day")
    assert str(refusal.value) == f"{tmp_path / 'day'}: line 2 is not an answer of fmnist-infer --json: {reason}"


@pytest.mark.parametrize("text", ['{"a": 1}x', '{"a": }', "{" * 10, '{"a":' * 100_000])
def test_text_that_is_not_json_names_its_line_once(text: str, tmp_path: Path) -> None:
    (tmp_path / "day").write_text(json.dumps({"error": "gone"}) + "\n" + text)
    with pytest.raises(DataError, match=r"line 2 is not (JSON|an answer)") as refusal:
        read_counts(tmp_path / "day")
    assert "line 1" not in str(refusal.value) and "Error" not in str(refusal.value)


@pytest.mark.parametrize("labels", ["a" * 200_000, 'a="' + "\\" * 200_000, 'a="b",' * 50_000 + "a" * 200_000])
def test_a_long_line_of_metrics_takes_linear_time(labels: str, tmp_path: Path) -> None:
    (tmp_path / "metrics").write_text(f"fmnist_answers_total{{{labels}}} 1\n{METRICS}")
    start = time.process_time()
    assert read_counts(tmp_path / "metrics").total == 5
    assert time.process_time() - start < 5


@pytest.mark.parametrize("separator", ["\n", "", " \n\n"])
def test_values_are_read_from_parts_of_the_text(
    separator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [json.dumps(ANSWER | {"label": f"class {number}"}, indent=number % 3 or None) for number in range(50)]
    (tmp_path / "day").write_text(separator.join(values))
    before = read_counts(tmp_path / "day")
    assert before.total == 50
    for most in (max(map(len, values)), 2 * max(map(len, values)) - 1):
        monkeypatch.setattr("fmnist_runtime.drift.counts._MAX_VALUE", most)
        assert read_counts(tmp_path / "day").labels == before.labels


def test_a_large_value_is_refused_before_it_takes_memory(tmp_path: Path) -> None:
    (tmp_path / "day").write_text(json.dumps(ANSWER) + "\n[" + "[]," * 4_000_000 + "[]]")
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"line 2 is not JSON \(.*\), or has a value of over 4 MiB"):
            read_counts(tmp_path / "day")
        assert tracemalloc.get_traced_memory()[1] < 200e6
    finally:
        tracemalloc.stop()


def test_a_long_line_of_metrics_is_refused_before_it_takes_memory(tmp_path: Path) -> None:
    path = tmp_path / "metrics"
    path.write_text(METRICS.replace('"Bag"', f'"{"x" * (1 << 23)}"'))
    with pytest.raises(DataError, match="line 16 is over 4 MiB, so the file is not a reading of /metrics"):
        read_counts(path)
