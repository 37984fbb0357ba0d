"""Markdown of the tables in README and guides: one function for each table, from a results document to text."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

__all__ = [
    "best_guesses",
    "confidence",
    "download",
    "gray_frames",
    "markdown_table",
    "microcontrollers",
    "models",
    "page_agreement",
    "page_speed",
    "photos",
    "photos_by_class",
    "plain_c",
    "portability",
    "rounding",
    "serve_load",
    "speed",
    "variants",
]

Document = dict[str, Any]
Row = dict[str, Any]
Columns = dict[str, Callable[[Row], str]]

PHOTO_KINDS = {"product": "shop pictures", "wild": "people's own"}
"""Kinds of photos with garments, by folder name."""


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]], align: str = "") -> str:
    """Returns a Markdown table; ``align`` holds ``l`` or ``r`` for each column, left where it is shorter."""
    marks = ["---:" if align[place : place + 1] == "r" else "---" for place in range(len(head))]
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, marks, *rows])


def _from_columns(columns: Columns, rows: Iterable[Row], align: str) -> str:
    return markdown_table(list(columns), [[cell(row) for cell in columns.values()] for row in rows], align)


def _machine(machine: Row) -> str:
    return f"{machine['processor']} ({', '.join(machine['flags'])})"


def _microseconds(row: Row, form: str) -> str:
    return f"{row['latency_us'][form]:.0f} µs" if row["latency_us"] else "–"


def _seeds(row: Row) -> str:
    return "one seed" if row["std"] is None else f"{row['mean']:.2%} ± {100 * row['std']:.2f} ({row['seeds']} seeds)"


_MODEL_COLUMNS: Columns = {
    "model": lambda r: f"`{r['name']}`",
    "parameters": lambda r: f"{r['parameters']:,}",
    "MACs": lambda r: f"{r['macs'] / 1e6:.1f}M",
    "int8 accuracy": lambda r: f"**{r['int8']:.2%}**",
    "float accuracy": lambda r: f"{r['float32']:.2%}",
    "PyTorch, over seeds": _seeds,
    "int8 file": lambda r: f"{r['int8_bytes'] / 1000:.0f} kB",
    "int8 p50": lambda r: _microseconds(r, "int8"),
    "float p50": lambda r: _microseconds(r, "float"),
    "published, about that size": lambda r: r["published"],
}


def models(rows: Iterable[Row]) -> str:
    """Returns the full table of our models."""
    return _from_columns(_MODEL_COLUMNS, rows, "lrrrrrrrrl")


_GUESS_COLUMNS: Columns = {
    "model": lambda r: f"`{r['name']}`",
    "file": lambda r: f"{r['int8_bytes'] / 1000:.0f} kB",
    "Fashion-MNIST test": lambda r: f"{r['int8']:.2%}",
    "one call": lambda r: _microseconds(r, "int8"),
    "shop pictures correct": lambda r: _share(r["photos"], "product", "right"),
    "people's own correct": lambda r: _share(r["photos"], "wild", "right"),
}


def best_guesses(rows: Iterable[Row]) -> str:
    """Returns the README's short table of our models; photos are counted without the reject option."""
    return _from_columns(_GUESS_COLUMNS, rows, "lrrrrr")


def _share(counts: Row | None, kind: str, key: str, of: str = "photos") -> str:
    if not counts or not counts[kind][of]:
        return "–"
    return f"{counts[kind][key] / counts[kind][of]:.1%}"


def photos(document: Document) -> str:
    """Returns the share of correct photos for each way of preprocessing, and the number of photos."""
    head = [
        "",
        *(
            f"{kind}: {what}"
            for kind in PHOTO_KINDS.values()
            for what in ("correct", "coverage", "correct among accepted")
        ),
    ]
    rows = [
        [
            name,
            *(
                _share(counts, kind, *keys)
                for kind in PHOTO_KINDS
                for keys in (("right",), ("kept",), ("right_of_kept", "kept"))
            ),
            _share(counts, "ood", "kept"),
        ]
        for name, counts in document.items()
    ]
    first = next(iter(document.values()))
    numbers = {**PHOTO_KINDS, "ood": "other things"}
    photos = ", ".join(f"{first[kind]['photos']} {what}" for kind, what in numbers.items())
    return markdown_table([*head, "other things accepted"], rows, "lrrrrrrr") + f"\n\nPhotos: {photos}."


def photos_by_class(document: Document) -> str:
    """Returns the share of correct photos by their accepted answers, as the model ships."""
    counts = next(ways for name, ways in document.items() if "as it ships**" in name)
    answers = sorted({row.split("/")[1] for row in counts if "/" in row} - {"none"})
    columns = [(kind, *keys) for kind in PHOTO_KINDS for keys in ((), ("right",), ("right_of_kept", "kept"))]
    rows = [
        [_answers(answer), *(_class_cell(counts.get(f"{column[0]}/{answer}"), *column[1:]) for column in columns)]
        for answer in answers
    ]
    head = [
        f"{kind}: {what}" for kind in PHOTO_KINDS.values() for what in ("photos", "correct", "correct among accepted")
    ]
    means, errors, by_chance = (
        "; ".join(f"{what} {counts[kind][key]:.1%}" for kind, what in PHOTO_KINDS.items())
        for key in ("class_mean", "ece", "ece_by_chance")
    )
    return (
        markdown_table(["accepted answers", *head], rows, "lrrrrrr")
        + f"\n\nMean of these rows, correct: {means}. Expected calibration error: {errors}. "
        f"Perfectly calibrated probabilities would have on so few photos: {by_chance}."
    )


def _answers(slugs: str) -> str:
    return " or ".join(slugs.replace("-", " ").replace("tshirt top", "T-shirt/top").split("+"))


def _class_cell(counts: Row | None, key: str = "photos", of: str = "photos") -> str:
    if not counts:
        return "–"
    return str(counts["photos"]) if key == "photos" else _share({"": counts}, "", key, of)


def confidence(document: Document) -> str:
    """Returns the calibration figures in a sentence, and the separation from images that show no garment."""
    garments = document["garments"]
    head = [
        "not a garment",
        "pictures",
        "AUROC",
        "accepted at 95% of garments",
        "accepted at the model's threshold",
    ]
    rows = [
        [kind, f"{r['pictures']:,}", f"{r['auroc']:.3f}", f"{r['accepted_at_95']:.1%}", f"{r['accepted']:.1%}"]
        for kind, r in document.items()
        if kind != "garments"
    ]
    sentence = (
        f"Expected calibration error {garments['ece']:.2%} (15 bins), negative log-likelihood {garments['nll']:.4f}. "
        f"The model's own threshold accepts {garments['accepted']:.1%} of the test images; "
        f"{garments['accuracy_of_accepted']:.2%} of those are correct."
    )
    return f"{sentence}\n\n{markdown_table(head, rows, 'lrrrr')}"


def speed(document: Document) -> str:
    """Returns the ratios beside their goals, and the installed size on a device."""
    rows = []
    for r in document["ratios"]:
        sign, (low, high) = "≥" if r["at_least"] else "≤", r["interval"]
        verdict = "met" if r["met"] else "**not met**"
        rows.append([r["what"], f"{sign} {r['goal']}", f"{r['ratio']:.2f}", f"{low:.2f} to {high:.2f}", verdict])
    extra = document["over_the_base"]
    parts = ", ".join(f"{name} {size / 1e3:,.0f} kB" for name, size in extra.items())
    total = f"{sum(extra.values()) / 1e3:,.0f} kB, unpacked ({parts})"
    table = markdown_table(["", "goal", "measured", "95% interval", ""], rows, "lrrr")
    return f"{table}\n\nA device installs, over onnxruntime, numpy and Pillow: {total}."


def portability(document: Document) -> str:
    """Returns the int8 file's logits on other processors, beside those of ordinary 8-bit weights."""
    images = document["images"]
    rows = []
    for row, wide in zip(document["rows"], document["ordinary"], strict=True):
        if "missing" in row:
            rows.append([row["name"], f"not run: {row['missing']}", *[""] * 5])
            continue
        cells = [cell for part in (row, wide) for cell in (_bits(part), f"{part['correct'] / images:.1%}")]
        rows.append([row["name"], row["how"], row["onnxruntime"], *cells])
    head = ["processor", "run by", "onnxruntime", "this file", "correct", "ordinary 8-bit weights", "correct"]
    machine = f"This machine: {document['machine']}. {images:,} test images, {10 * images:,} logits."
    return f"{markdown_table(head, rows)}\n\n{machine}"


def _bits(row: Row) -> str:
    return "same bits" if row["same_bits"] else f"{row['different_logits']:,} logits differ"


def rounding(document: Document) -> str:
    """Returns agreement with the float network, for each way of rounding."""
    rows = [
        [r["name"], f"{r['validation']:.2%}", f"{r['training']:.2%}", f"{r['logits_rms']:.3f}"]
        for r in document["rows"]
    ]
    table = markdown_table(["", "validation", "training", "logits"], rows, "lrrr")
    return f"{table}\n\n{document['images']:,} images each; checkpoint {document['checkpoint_sha256'][:12]}."


def variants(document: Document) -> str:
    """Returns size, loading time and answer time of each file format."""
    rows = [
        [f"`{r['file']}`", f"{r['bytes'] / 1e3:,.0f} kB", f"{r['load_ms']:.1f} ms", f"{r['answer_us']:.0f} µs"]
        for r in document["rows"]
    ]
    table = markdown_table(["file", "size", "load and verify", "one answer"], rows, "lrrr")
    return f"{table}\n\n{_machine(document['machine'])}."


def download(document: Document) -> str:
    """Returns the sizes of the page's download."""
    sizes = {**document["bytes"], "together": sum(document["bytes"].values())}
    return markdown_table(["", "bytes"], [[what, f"{count:,}"] for what, count in sizes.items()], "lr")


def page_speed(document: Document) -> str:
    """Returns the processor time of one call in the browser, with each build of the kernels."""
    times = document["call_ms"]
    return (
        f"{times['kernels.simd.wasm']:.2f} ms of processor time with SIMD, {times['kernels.wasm']:.2f} ms without. "
        f"{_machine(document['machine'])}; Chromium {document['machine']['chromium']}."
    )


def page_agreement(document: Document) -> str:
    """Returns the number of photos with the same answer from page and command."""
    return (
        f"{document['photos']} photos: {document['equal_pictures']} equal pictures, {document['equal_answers']} equal "
        f"answers, probabilities differ by at most {document['largest_difference']:.2g}."
    )


def serve_load(document: Document) -> str:
    """Returns throughput, overload and memory of the service."""
    own, capacity, overload = document["in_process"], document["capacity"], document["overload"]
    http, *workers = document["processes_mb"]
    worker_memory = (
        f"{max(workers):.0f} MiB each of {len(workers)} workers at most" if workers else "which also classifies"
    )
    lines = [
        f"{document['machine']['processor']}, {document['machine']['cpus_allowed']} CPUs, client on the same machine:",
        "",
        f"- `Classifier.batch`, in process, one thread: {own:,.0f} pictures/s",
        f"- the service: {capacity['served']:,.0f} requests/s ({capacity['served'] / own:.2f} of that), "
        f"p50 {capacity['p50_ms']:.0f} ms, p99 {capacity['p99_ms']:.0f} ms, {_counted(capacity)}",
        f"- overload, {overload['connections']} connections: {overload['offered']:,.0f} requests/s offered, "
        f"{document['overload_ratio']:.1f} times the capacity, {overload['served']:,.0f} served; {_counted(overload)}",
        f"- memory: {http:.0f} MiB in the HTTP process, {worker_memory}",
    ]
    if sizes := document.get("resident_mb"):
        lines.append(
            f"- memory of all processes, at ten times during the run: {min(sizes):.1f} to {max(sizes):.1f} MiB"
        )
    return "\n".join(lines)


def _counted(run: Row) -> str:
    statuses = ", ".join(f"{count:,} × {status}" for status, count in sorted(run["statuses"].items()) if count)
    return f"answers {statuses}, socket errors {run['socket_errors']}"


_CYCLES_PER_INSTRUCTION = 1.3
"""Estimate for Cortex-M4: loads take two cycles unless they follow each other, multiplications one, branches two to four."""


def microcontrollers(document: Document) -> str:
    """Renders flash, RAM and instructions on Cortex-M."""
    megahertz = 168
    head = ["model", "multiplications", "flash", "RAM", "stack", "instructions, M4F", "per multiplication"]
    head += [f"estimate at {megahertz} MHz", "instructions, M0+"]
    rows = []
    for name, row in document["models"].items():
        m4f, m0plus = row["m4f"], row["m0plus"]
        rows.append(
            [
                f"`{name}`",
                f"{row['macs'] / 1e6:.2f}M",
                f"{m4f['flash'] / 1000:.1f} kB",
                f"{m4f['ram'] / 1000:.1f} kB",
                f"{m4f['stack']} B",
                f"{m4f['instructions'] / 1e6:.2f}M",
                f"{m4f['instructions'] / row['macs']:.2f}",
                f"{m4f['instructions'] * _CYCLES_PER_INSTRUCTION / (megahertz * 1000):.0f} ms",
                f"{m0plus['instructions'] / 1e6:.1f}M",
            ]
        )
    return markdown_table(head, rows, "l" + "r" * (len(head) - 1))


def plain_c(document: Document) -> str:
    """Renders plain C beside onnxruntime on the machine of the study."""
    head = ["model", "call, C", "call, onnxruntime", "ratio", "process, C", "process, `fmnist-infer`"]
    head += ["peak memory, C", "peak memory, `fmnist-infer`"]
    rows = [
        [
            f"`{name}`",
            f"{row['c_us']:.0f} µs",
            f"{row['onnxruntime_us']:.0f} µs",
            f"{row['ratio']:.2f}",
            f"{row['c_cold_ms']:.1f} ms",
            f"{row['onnxruntime_cold_ms']:.0f} ms",
            f"{row['c_peak_mb']:.1f} MB",
            f"{row['onnxruntime_peak_mb']:.0f} MB",
        ]
        for name, row in document["models"].items()
    ]
    machine = document["machine"]
    flags = ", ".join(machine["flags"]) or "no vector instructions for int8"
    return (
        f"{markdown_table(head, rows, 'l' + 'r' * (len(head) - 1))}\n\n"
        f"Measured on {machine['processor']} ({flags}), {machine['cpus']} CPUs, while other programs ran "
        f"(load {document['load']:.1f}). Calls of both alternate; the ratio is the median of neighboring "
        "rounds. onnxruntime is called "
        "from Python and computes the softmax, too. Processes: the fastest of 15 starts."
    )


def gray_frames(document: Document) -> str:
    """Renders the accuracy behind ``fmnist_prepare_grey`` beside the Python preprocessing."""
    gray = document["grey"]
    ways = ("c_grey", "python_grey", "python_color")
    head = ["model", "`fmnist_prepare_grey`", "Python, gray", "Python, color"]
    rows = [[f"`{name}`", *(f"{100 * row[way]:.1f}%" for way in ways)] for name, row in gray["models"].items()]
    return f"{markdown_table(head, rows, 'lrrr')}\n\nCorrect answers, without rejection, on {gray['photos']} shop pictures."
