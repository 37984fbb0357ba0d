"""Change distinguished from chance, and the files that it is read from."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fmnist_runtime.drift.chart import write_chart
from fmnist_runtime.drift.cli import build_parser
from fmnist_runtime.drift.counts import EDGES, AnswerCounts, read_counts
from fmnist_runtime.drift.permutation import chi_square, detect_drift, kolmogorov_smirnov
from fmnist_runtime.errors import DataError, FmnistError

LABELS = ("Bag", "Coat", "Dress", "Shirt")
SHARES = (0.4, 0.3, 0.2, 0.1)


def day(seed: int, pictures: int = 600, shares: tuple[float, ...] = SHARES, rejected: float = 0.1, sure: float = 8.0):
    """A day of made-up answers, as the command writes them."""
    rng = np.random.default_rng(seed)
    for label in rng.choice(LABELS, size=pictures, p=shares):
        reject = bool(rng.random() < rejected)
        answer = {"label": None if reject else str(label), "probability": rng.beta(sure, 1), "rejected": reject}
        yield json.dumps({"path": "x", "class_id": None, "top": [], **answer})


def write(path: Path, lines) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def tally(path: Path, *args: object, **changes: object) -> AnswerCounts:
    return read_counts(write(path / "day", day(*args, **changes)))


def drift(*arguments: object, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    code = "from fmnist_runtime.drift.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], input=stdin, capture_output=True, text=True
    )


@pytest.mark.slow
def test_an_unchanged_world_is_called_changed_as_rarely_as_promised(tmp_path: Path) -> None:
    alarms = 0
    for seed in range(60):
        findings = detect_drift(tally(tmp_path, 2 * seed, 200), tally(tmp_path, 2 * seed + 1, 150), alpha=0.1)
        alarms += any(finding.changed for finding in findings)
    assert alarms <= 12  # 6 expected at most; more than 12 of 60 happen once in 150 worlds at a true rate of 10%


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"shares": (0.2, 0.3, 0.2, 0.3)}, {"labels"}),
        ({"rejected": 0.25}, {"rejection"}),
        ({"sure": 3.0}, {"confidence"}),
        ({"shares": (0.0, 0.0, 0.0, 1.0), "rejected": 0.6, "sure": 2.0}, {"labels", "rejection", "confidence"}),
    ],
)
def test_a_change_is_found_where_it_is(tmp_path: Path, changes: dict, what: set[str]) -> None:
    findings = detect_drift(tally(tmp_path, 1), tally(tmp_path, 2, **changes))
    assert {finding.what for finding in findings if finding.changed} == what
    assert not any(f.changed for f in detect_drift(tally(tmp_path, 1), tally(tmp_path, 2, **changes), least=1.0))


def test_blocks_of_draws_give_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, now = tally(tmp_path, 1), tally(tmp_path, 2, 150, shares=(0.4, 0.3, 0.2, 0.1))
    whole = detect_drift(before, now)
    monkeypatch.setattr("fmnist_runtime.drift.permutation._BLOCK", 4000)
    assert detect_drift(before, now) == whole


def test_more_labels_than_a_model_has_classes_are_refused(tmp_path: Path) -> None:
    answer = {"probability": 0.9, "rejected": False}
    (tmp_path / "day").write_text("\n".join(json.dumps({**answer, "label": f"c{n}"}) for n in range(2001)))
    counts = read_counts(tmp_path / "day")
    with pytest.raises(DataError, match="2,001 labels; drift is measured for models of at most 2,000 classes"):
        detect_drift(counts, counts)


def test_the_statistics_are_the_textbook_s() -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy is the witness")
    before, now = np.array([30, 50, 0, 20]), np.array([20, 10, 0, 40])
    expected = stats.chi2_contingency(np.stack([before, now])[:, before + now > 0], correction=False).statistic
    assert chi_square(now, before + now) == pytest.approx(expected)
    values = [np.repeat(np.arange(4), counts) for counts in (before, now)]
    assert kolmogorov_smirnov(now, before + now) == pytest.approx(stats.ks_2samp(*values).statistic)


def test_p_agrees_with_the_textbook_where_that_holds(tmp_path: Path) -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy is the witness")
    before, now = tally(tmp_path, 1, 3000), tally(tmp_path, 4, 3000, shares=(0.38, 0.31, 0.2, 0.11))
    labels = detect_drift(before, now)[0]
    table = [[t.labels[label] for label in LABELS] for t in (before, now)]
    assert labels.p == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue, abs=0.02)


def test_the_service_s_metrics_say_the_same_as_the_answers(tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client", reason="the service needs the extra `serve`")
    from fmnist_runtime.prediction import Prediction
    from fmnist_runtime.serve.capacity import Capacity
    from fmnist_runtime.serve.metrics import Metrics
    from fmnist_runtime.serve.settings import RequestLimits

    odd = 'odd "name"} \\ 5'
    lines = [*day(3), json.dumps({"label": odd, "probability": EDGES[4], "rejected": False})]
    metrics = Metrics([*LABELS, odd], Capacity(RequestLimits()))
    for answer in map(json.loads, lines):
        metrics.results([Prediction(answer["label"], None, answer["probability"], (), answer["rejected"])])
    (tmp_path / "evening").write_bytes(metrics.text())
    evening, answers = read_counts(tmp_path / "evening"), read_counts(write(tmp_path / "answers", lines))
    assert evening.rejected == answers.rejected and evening.confidence.tolist() == answers.confidence.tolist()
    assert {label: n for label, n in evening.labels.items() if n} == answers.labels
    (tmp_path / "night").write_bytes(metrics.text())
    metrics.results([Prediction("Bag", 0, 0.9, ())])
    (tmp_path / "later").write_bytes(metrics.text())
    later = read_counts(tmp_path / "later").since(evening)
    assert later.total == later.labels["Bag"] == 1
    with pytest.raises(
        DataError, match=r"restarted|must name the earlier of the two"
    ):  # not every system knows its start
        evening.since(read_counts(tmp_path / "later"))
    with pytest.raises(DataError, match="no answers between"):
        evening.since(read_counts(tmp_path / "night"))


def reading(path: Path, *, bag: int, rejected: int, started: float | None = None, labels: str = "") -> AnswerCounts:
    """A made-up reading of /metrics, all answers of which have a confidence over 0.999."""
    total, more = bag + rejected, f",{labels}" if labels else ""
    lines = [f'fmnist_confidence_bucket{{le="{edge}"{more}}} 0' for edge in EDGES]
    lines += [
        f'fmnist_confidence_bucket{{le="+Inf"{more}}} {total}',
        f'fmnist_answers_total{{label="Bag"{more}}} {bag}',
    ]
    lines += [f"fmnist_rejected_total {rejected}"]
    lines += [] if started is None else [f"process_start_time_seconds {started}"]
    return read_counts(write(path, lines))


@pytest.mark.parametrize("today", [10**9 - 600, 10**9, 10**12, 1 << 53])
def test_a_large_set_leaves_the_small_one_whole(today: int, tmp_path: Path) -> None:
    answers = write(tmp_path / "reference", day(1))
    reading(tmp_path / "today", bag=today, rejected=0)
    for pair in ((answers, tmp_path / "today"), (tmp_path / "today", answers)):
        done = drift(*pair, "--json")
        findings = json.loads(done.stdout, parse_constant=pytest.fail)["findings"]
        assert done.returncode == 3 and not done.stderr and all(f["changed"] for f in findings)
    shown = drift(answers, tmp_path / "today").stdout
    assert shown.splitlines()[1].split() == ["images", "600", f"{today:,}"]
    same = drift(tmp_path / "today", tmp_path / "today")
    assert same.returncode == 0 and "CHANGED" not in same.stdout and not same.stderr


def test_counts_that_floats_do_not_hold_are_refused(tmp_path: Path) -> None:
    one = write(tmp_path / "one", day(1, 10))
    many = tmp_path / "many"
    for bag, copies in ((1 << 52, 3), (1 << 53, 2000)):
        reading(many, bag=bag, rejected=0)
        many.write_text(many.read_text() * copies)
        done = drift(one, many, "--json")
        assert (done.returncode, done.stdout) == (1, "")
        assert (
            done.stderr == f"error: {many}: over {1 << 53:,} answers, which floats cannot count: the file is damaged\n"
        )


def test_unreadable_images_are_shown(tmp_path: Path) -> None:
    answers = write(tmp_path / "one", day(1))
    more = write(tmp_path / "two", [*day(1), *[json.dumps({"path": "x", "error": "damaged"})] * 70])
    assert drift(answers, more).stdout.splitlines()[2].split() == ["unreadable", "0", "70"]
    assert json.loads(drift(answers, more, "--json").stdout)["unreadable"] == {"reference": 0, "today": 70}
    assert "unreadable" not in drift(answers, answers).stdout


def test_answers_without_confidences_are_refused(tmp_path: Path) -> None:
    one, without = write(tmp_path / "one", day(1, 10)), tmp_path / "without"
    later = reading(without, bag=7, rejected=2)
    without.write_text(without.read_text().replace('le="+Inf"} 9', 'le="+Inf"} 0'))
    done = drift(one, without, "--json")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "9 answers, but 0 counts of their confidence: the file is damaged" in done.stderr
    earlier = AnswerCounts({"Bag": 5}, 2, later.confidence)
    with pytest.raises(DataError, match="no answers between the two readings"):
        later.since(earlier)


def test_a_reading_after_one_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    one = write(tmp_path / "one", day(1, 10))
    joined = tmp_path / "joined"
    reading(joined, bag=7, rejected=2)
    whole = joined.read_text()
    joined.write_text('fmnist_answers_total{label="Bag"} 7\n' + whole)
    done = drift(one, joined)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "16 answers, but 9 counts of their confidence: the file is damaged or incomplete" in done.stderr


def test_an_exemplar_is_not_the_count(tmp_path: Path) -> None:
    """OpenMetrics allows one behind a value: https://prometheus.io/docs/specs/om/open_metrics_spec/#exemplars."""
    path = tmp_path / "reading"
    plain = reading(path, bag=7, rejected=2)
    path.write_text("".join(f'{line} # {{trace="1"}} 1.0\n' for line in path.read_text().splitlines()))
    assert read_counts(path).labels == plain.labels == {"Bag": 7}


def test_several_services_add_up(tmp_path: Path) -> None:
    one = reading(tmp_path / "one", bag=5, rejected=2, started=100.5, labels='instance="a"')
    two = reading(tmp_path / "two", bag=7, rejected=1, started=50.5, labels='instance="b"')
    (tmp_path / "both").write_text((tmp_path / "one").read_text() + (tmp_path / "two").read_text())
    both = read_counts(tmp_path / "both")
    assert both.labels == {"Bag": 12} and both.rejected == 3 and both.total == both.confidence.sum() == 15
    assert both.started == (50, 100) and (one.total, two.total) == (7, 8)


def test_a_restart_is_noticed_although_the_counters_went_up(tmp_path: Path) -> None:
    before, after = ({"started": 1_700_000_000.5}, {"started": 1_700_000_900.5})
    monday = reading(tmp_path / "monday", bag=5, rejected=2, **before)
    assert reading(tmp_path / "same", bag=9, rejected=3, **before).since(monday).total == 5
    assert reading(tmp_path / "untold", bag=9, rejected=3).since(monday).total == 5
    with pytest.raises(DataError, match="restarted"):
        reading(tmp_path / "tuesday", bag=9, rejected=3, **after).since(monday)


def test_readings_in_the_wrong_order_are_no_restart(tmp_path: Path) -> None:
    monday, tuesday = (reading(tmp_path / "day", bag=bag, rejected=0, started=100.0) for bag in (5, 9))
    assert tuesday.since(monday).total == 4
    with pytest.raises(DataError, match=r"^--since must name the earlier of the two readings$"):
        monday.since(tuesday)


def test_only_readings_of_one_service_are_subtracted(tmp_path: Path) -> None:
    answers = write(tmp_path / "answers.jsonl", day(1, 5))
    monday, tuesday, other = (tmp_path / name for name in ("monday", "tuesday", "other"))
    reading(monday, bag=1, rejected=1)
    reading(tuesday, bag=900, rejected=900)
    other.write_text(monday.read_text().replace("Bag", "Hat"))
    for today, since in ((tuesday, answers), (answers, monday), (answers, answers)):
        done = drift(tuesday, today, "--since", since)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert f"{answers}: answers, not a reading of /metrics" in done.stderr
    done = drift(tuesday, tuesday, "--since", other)
    assert done.returncode == 1 and "has the label 'Bag': the earlier one is of another service" in done.stderr
    assert "restarted" not in done.stderr


def test_the_first_reading_of_a_service_may_be_zero(tmp_path: Path) -> None:
    zeros = [f'fmnist_confidence_bucket{{le="{edge}"}} 0' for edge in [*EDGES, "+Inf"]]
    write(tmp_path / "monday", ['fmnist_answers_total{label="Bag"} 0', *zeros, "fmnist_rejected_total 0"])
    reading(tmp_path / "tuesday", bag=9, rejected=3)
    done = drift(tmp_path / "tuesday", tmp_path / "tuesday", "--since", tmp_path / "monday")
    assert done.returncode == 0 and not done.stderr
    for text in ("", "other_metric 0\n", 'fmnist_answers_total{label="Bag"} 0\n'):
        with pytest.raises(DataError, match="no answers in it"):
            read_counts(write(tmp_path / "none", [text]), metrics=True)


@pytest.mark.parametrize("between", ["", "\n", "\n\n", " "])
def test_responses_may_stand_on_one_line(tmp_path: Path, between: str) -> None:
    answers = [json.loads(line) for line in day(5, 40)]
    answers[0]["path"] = "a\u2028b"  # JSON lets it stand, str.splitlines takes it for the end of a line
    responses = [json.dumps({"answers": answers[i : i + 2]}, ensure_ascii=False) for i in range(0, 40, 2)]
    (tmp_path / "responses").write_text(between.join([*responses, '{"error": "busy"}']), "utf-8")
    found = read_counts(tmp_path / "responses")
    expected = read_counts(write(tmp_path / "lines", map(json.dumps, answers)))
    assert found.total == 40 and (found.labels, found.rejected) == (expected.labels, expected.rejected)


def test_the_command(tmp_path: Path) -> None:
    reference, same = write(tmp_path / "a", day(1)), write(tmp_path / "b", day(2))
    calm = drift(reference, same)
    assert calm.returncode == 0 and "CHANGED" not in calm.stdout and "600" in calm.stdout
    picture = tmp_path / "drift.png"
    other = "\n".join(day(3, rejected=0.5))
    alarm = drift(reference, "-", "--picture", picture, "--json", stdin=other)
    changed = {f["what"]: f["changed"] for f in json.loads(alarm.stdout)["findings"]}
    assert alarm.returncode == 3 and changed["rejection"] and not changed["confidence"]
    with Image.open(picture) as drawn:
        colors = {color for _, color in drawn.convert("RGB").getcolors(1 << 20)}
        assert drawn.width == 900 and {(0xCF, 0x22, 0x2E), (0x1F, 0x6F, 0xEB)} <= colors


def test_a_chart_replaces_charts_only(tmp_path: Path) -> None:
    reference, same = write(tmp_path / "a", day(1)), write(tmp_path / "b", day(2))
    content = reference.read_bytes()
    refused = drift(reference, same, "--picture", reference)
    assert refused.returncode == 2 and "exists and is no PNG image; name another file" in refused.stderr
    assert reference.read_bytes() == content
    chart = tmp_path / "chart.png"
    chart.touch()
    assert [drift(reference, same, "--picture", chart).returncode for _ in range(2)] == [0, 0]


@pytest.mark.parametrize("name", [".", "..", "/"])
def test_a_folder_is_refused_as_a_chart_before_any_work(name: str, tmp_path: Path) -> None:
    done = drift(tmp_path / "nowhere", tmp_path / "nowhere", "--picture", name)
    assert (done.returncode, done.stderr) == (2, f"error: --picture: {name} is a folder; name a file\n")


def test_a_file_that_is_no_text_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(b"\x89PNG\r\n\x1a\n\xff")
    done = drift(tmp_path / "picture", tmp_path / "picture")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "picture: not text; expected lines of fmnist-infer --json" in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no answers"),
        ("# nothing\nup 1\n", "no answers"),
        ('{"label": "Bag"}\n', "line 1"),
        ('{"label": "Bag", "probability": 0.5, "rejected": false}\n{"a\n', "line 2"),
        ('{"label": "Bag", "probability": NaN, "rejected": false}\n', "not a probability"),
        ('{"path": "x", "error": "bad"}\n', "no answers"),
        ("{}\n[1]\n", "line 1"),
        ('fmnist_confidence_bucket{le="abc"} 1\n', 'ends at no number: le="abc"'),
        ('fmnist_confidence_bucket{le="0.5"} 1\nfmnist_answers_total{label="a"} 1\n', "other bins"),
        ("fmnist_answers_total 1\n", "no answers"),
        ("up 1\nfmnist_rejected_total nan\n", "bad: line 2 has no valid count"),
        ("fmnist_answers_total" + "{" * 1000 + "} " * 500, "bad: line 1 has no valid count"),
    ],
)
def test_bad_files_are_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad").write_text(text)
    good = write(tmp_path / "good", day(1, 10))
    done = drift(tmp_path / "bad", good)
    assert done.returncode == 1 and message in done.stderr and done.stderr.count("\n") == 1
    assert len(done.stderr) < 1100
    assert drift(good, tmp_path / "nowhere").returncode == 1


@pytest.mark.parametrize(
    ("option", "value"),
    [("--alpha", "0.6"), ("--alpha", "0"), ("--alpha", "few"), ("--least", "2"), ("--least", "nan")],
)
def test_numbers_out_of_range_are_one_clear_line(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_arguments([str(tmp_path), str(tmp_path), option, value])
    printed = capsys.readouterr().err
    assert ended.value.code == 2 and f"'{value}' is not a number from" in printed and "Traceback" not in printed


def test_a_chart_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    counts = tally(tmp_path, 1)
    with pytest.raises(FmnistError, match="--picture: cannot write"):
        write_chart(tmp_path / "file" / "chart.png", counts, counts, detect_drift(counts, counts))
