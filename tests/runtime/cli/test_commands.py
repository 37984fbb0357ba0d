"""Subcommands of ``fmnist-infer``, their earlier spellings, and names of files that look like commands."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fmnist_runtime.cli.infer import COMMANDS, infer
from fmnist_runtime.console import run_argparse
from fmnist_runtime.model_file.store import embedded_models
from fmnist_runtime.network.page_model import page_model

EXAMPLE = Path(__file__).parents[3] / "examples" / "shirt.jpg"


def run(*arguments: object) -> int:
    return run_argparse(infer, args=[str(argument) for argument in arguments])


@pytest.mark.parametrize("spelling", [["selftest"], ["--selftest"], ["--json", "--selftest"]])
def test_a_command_and_its_earlier_spelling_print_the_same(
    spelling: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*spelling, *([] if "--json" in spelling else ["--json"])) == 0
    assert json.loads(capsys.readouterr().out)["passed"]


@pytest.mark.parametrize("spelling", [["web", "{}"], ["--web", "{}"], ["--web={}"], ["--model", "nano", "--web", "{}"]])
def test_the_page_is_written_by_both_spellings(
    spelling: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*(part.format(tmp_path / "page") for part in spelling)) == 0
    model = embedded_models()["nano" if "nano" in spelling else "improved"].read_bytes()
    assert (tmp_path / "page" / "model.bin").read_bytes() == page_model(model)


@pytest.mark.parametrize("content", [b"", b"no model", b"\x3a\x02\x0a\x00", b"\0\0\0\0ORTM", bytes(100)])
@pytest.mark.parametrize("command", [[str(EXAMPLE)], ["web", "page"], ["selftest"], [str(EXAMPLE), "--workers", "2"]])
def test_each_refusal_of_a_model_names_its_file(
    command: list[str], content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.onnx").write_bytes(content)
    assert run(*command, "--model", "x.onnx") == 1
    assert capsys.readouterr().err.startswith("error: x.onnx: ") and not Path("page").exists()


def test_models_that_load_and_do_not_serve_are_named(
    make_model: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A float model for the page, a model without images for the self-test, another hash."""
    model = make_model()
    for command in (["web", tmp_path / "page"], ["selftest"], [EXAMPLE, "--sha256", "0" * 64]):
        assert run(*command, "--model", model) == 1
        assert capsys.readouterr().err.startswith(f"error: {model}: ")


def test_a_file_named_like_a_command_can_be_classified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in COMMANDS:
        Path(name).write_bytes(EXAMPLE.read_bytes())
        assert run(f"./{name}", "--json") == 0
        assert json.loads(capsys.readouterr().out)["path"] == f"./{name}"
    assert run("--json", "--", *COMMANDS) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(COMMANDS)


def test_models_are_described_by_their_metadata(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "--json") == 0
    found = {model["name"]: model for model in json.loads(capsys.readouterr().out)}
    assert set(found) == set(embedded_models())
    for name, model in found.items():
        assert model["bytes"] == embedded_models()[name].stat().st_size and 0.9 < model["accuracy"] < 1
    assert "the default" in found["improved"]["good_for"] and "smallest" in found["nano"]["good_for"]
    assert run("models") == 0
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 2 + len(found) and f"{found['nano']['accuracy']:.2%}" in table[-2]
    assert "MACs: multiplications of one image in the int8 file" in table[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--modle", "nano", "x.png"], "there is no option --modle; did you mean --model?"),
        (["--doctr"], "there is no option --doctr; did you mean fmnist-infer doctor?"),
        (["modles"], "modles is neither a file nor a subcommand; did you mean models?"),
        (["selftest", "--jsno"], "there is no option --jsno; did you mean --json?"),
        (["doctor", "x.png"], "leave out x.png"),
        (["web"], "required: DIR"),
        (["ray", "photos"], "required: ANSWERS"),
        (
            ["--model", "nano", "selftest"],
            "--model before selftest: write fmnist-infer selftest first, then its options",
        ),
        (["--json", "--threads=1", "ray", "a", "b"], "--json, --threads before ray: write fmnist-infer ray first"),
    ],
)
def test_usage_errors_are_one_line_with_a_suggestion(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_subcommand_s_name_after_two_dashes_is_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--", "selftest") == 1
    assert capsys.readouterr().err.startswith("error: selftest: cannot be read")


@pytest.mark.parametrize("name", ["-n.jpg", "-q.jpg", "-qv.jpg", "-h.jpg", "--json.jpg"])
@pytest.mark.parametrize("before", [[], ["a.jpg"], ["--model"], ["-q", "a.jpg"]], ids=str)
def test_a_file_whose_name_begins_with_a_dash_is_not_an_option(
    before: list[str],
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert run(*before, name) == 2
    error = capsys.readouterr().err
    assert f"write ./{name} for the file of that name" in error and error.count("\n") == 1


def test_an_option_is_not_taken_for_a_file_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "-q").touch()
    monkeypatch.chdir(tmp_path)
    assert run("-q", "--top-k", "none") == 2
    assert "--top-k" in capsys.readouterr().err


def test_options_and_pictures_come_in_any_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(EXAMPLE, "--json", EXAMPLE, "--top-k", "1") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_defaults_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FMNIST_MODEL", "nothing.onnx")
    assert run(EXAMPLE) == 1 and "nothing.onnx" in capsys.readouterr().err
    assert run(EXAMPLE, "--model", "nano") == 0
    monkeypatch.setenv("FMNIST_MODEL", "")
    assert run(EXAMPLE) == 0
    capsys.readouterr()
    monkeypatch.setenv("FMNIST_THREADS", "none")
    assert run(EXAMPLE) == 2 and "environment variable FMNIST_THREADS: 'none' is no" in capsys.readouterr().err
    assert run(EXAMPLE, "--threads", "1") == 0


def test_a_misspelt_model_has_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(EXAMPLE, "--model", "imroved-lite") == 1
    assert "did you mean improved-lite?" in capsys.readouterr().err
    assert run(EXAMPLE, "--model", "elsewhere/model.onnx") == 1
    assert "did you mean" not in capsys.readouterr().err
