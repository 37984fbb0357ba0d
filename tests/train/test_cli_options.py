"""The options of ``fmnist-train``: published spellings, derivation from the dataclasses, help panels, completion."""

import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import fmnist_runtime
from fmnist_runtime.errors import ConfigError
from fmnist_train.cli import app
from fmnist_train.console import run_typer
from fmnist_train.options import chosen_settings, with_settings
from fmnist_train.recipes import RECIPES, Augmentation, NetworkOptions, Recipe, get_recipe, recipe_from_dict
from fmnist_train.run_options import RunOptions
from fmnist_train.settings import check_settings, setting, settings_of

PUBLISHED = """
--batch-norm --batch-size --channels --class-weights --data --data-dir --device --distillation --dropout --ema-decay
--epochs --erase --flip --gradient-clip --hidden --json --kernel --label-smoothing --learning-rate --lr --min-delta
--mix --mixed-precision --model --momentum --monitor --no-batch-norm --no-mixed-precision --optimiser --optimizer
--outliers --output --patience --photo --quiet --recipe --resume --rotation --scale --scheduler --scheduler-factor
--scheduler-patience --scheduler-step --seed --shift --targets --teacher --temperature --tensorboard
--threads --translation --validation --warmup --weight-decay --widths -o -q
""".split()  # noqa: SIM905 (legible)
"""The spellings of version 0.1.0, when each option was written by hand."""

FLAGS = {"--batch-norm", "--no-batch-norm", "--mixed-precision", "--no-mixed-precision"}
FLAGS |= {"--json", "--quiet", "--resume", "--tensorboard", "-q"}
VALUES = {
    "--optimiser": "sgd",
    "--optimizer": "sgd",
    "--scheduler": "cosine",
    "--monitor": "loss",
    "--targets": "one-hot",
}


def parse(*args: str) -> dict[str, object]:
    """The values of all options after parsing, without running the command."""
    command = typer.main.get_command(app)
    return command.make_context("fmnist-train", list(args), resilient_parsing=False).params


@pytest.mark.parametrize("option", PUBLISHED)
def test_published_spellings_are_accepted(option: str) -> None:
    args = (option,) if option in FLAGS else (option, VALUES.get(option, "1"))
    assert parse(*args) != parse() or option in ("--mixed-precision", "--no-batch-norm")
    assert parse(*args).keys() == parse().keys()


def test_every_field_of_run_recipe_augmentation_and_network_has_an_option() -> None:
    given = parse()
    owners = (RunOptions, Recipe, Augmentation, NetworkOptions)
    fields = {name for owner in owners for name in owner.__dataclass_fields__}
    assert fields - given.keys() == {"name", "model_options", "augmentation", "teacher", "photo_teacher"}
    assert all(settings_of(owner)[name].help.endswith(".") for owner in owners for name in settings_of(owner))


def test_options_become_values_of_the_fields() -> None:
    given = parse(
        "--scale", "0.9,1.1", "--optimizer", "sgd", "--class-weights", "1,2", "--channels", "8,16", "--photo", "0"
    )
    assert chosen_settings(Augmentation, given) == {"scale": (0.9, 1.1), "photo": 0.0}
    assert chosen_settings(Recipe, given) == {"optimizer": "sgd", "class_weights": (1.0, 2.0)}
    assert chosen_settings(NetworkOptions, given) == {"channels": (8, 16)}


def test_options_of_a_run_become_its_fields() -> None:
    given = parse(
        "--seed", "7", "--no-mixed-precision", "--teacher", "a", "--teacher", "b", "-o", "c", "--data", "sample"
    )
    expected = {"teachers": (Path("a"), Path("b")), "output": Path("c"), "data": "sample"}
    assert chosen_settings(RunOptions, given) == {"seed": 7, "mixed_precision": False, **expected}
    assert RunOptions(**chosen_settings(RunOptions, parse())) == RunOptions()
    with pytest.raises(ConfigError, match="--seed must be from 0 to 4294967295, not -3"):
        RunOptions(seed=-3)


def test_parameters_of_a_command_take_the_place_of_settings() -> None:
    def command(output: str = "", **settings: object) -> None: ...

    names = inspect.signature(with_settings(command, RunOptions, without=("resume",))).parameters
    assert list(names).count("output") == 1 and names["output"].default == ""
    assert "seed" in names and "resume" not in names


def test_a_new_field_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    @dataclasses.dataclass(frozen=True)
    class Options:
        depth: int = setting(2, "Depth of the tree.", panel="Tree", ge=1, le=9)

        def __post_init__(self) -> None:
            check_settings(self)

    def grow(**settings: object) -> None:
        print(Options(**chosen_settings(Options, settings)))

    command = typer.Typer(rich_markup_mode="rich")
    command.command()(with_settings(grow, Options))
    assert run_typer(command, args=["--depth", "3"]) == 0 and "depth=3" in capsys.readouterr().out
    assert run_typer(command, args=["--depth", "10"]) == 2
    assert "--depth must be from 1 to 9, not 10" in capsys.readouterr().err
    assert run_typer(command, args=["--help"]) == 0
    shown = capsys.readouterr().out
    assert "Tree" in shown and "Depth of the tree (from 1 to 9)." in shown


def test_help_has_panels_by_topic(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_typer(app, args=["--help"]) == 0
    shown = capsys.readouterr().out
    panels = [line for line in shown.splitlines() if line.startswith("╭")]
    titles = {"Options", "Distillation", "Network", "Training", "Optimization", "Loss", "Augmentation", "Commands"}
    assert titles <= {panel.split()[1] for panel in panels} and len(panels) == len({*panels})
    assert "<adam|adamw|muon|sgd>" in shown


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("fmnist-train --optimizer a", {"adam", "adamw"}),
        ("fmnist-train --recipe si", {"simple"}),
        ("fmnist-train --model fe", {"feedforward"}),
        ("fmnist-train ev", {"evaluate"}),
        ("fmnist-train compare hy", {"hybrid"}),
    ],
)
def test_shell_completion(
    words: str, expected: set[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_FMNIST_TRAIN_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    with pytest.raises(SystemExit):
        app(args=[], prog_name="fmnist-train", standalone_mode=False)
    assert set(capsys.readouterr().out.split()) == expected


@pytest.mark.parametrize("command", ["fmnist_train", "fmnist_export"])
def test_the_version_comes_without_a_heavy_import(command: str) -> None:
    code = (
        f"import sys; from {command}.cli import main\ntry: main()\n"
        "finally: print(*{'torch', 'onnx', 'onnxruntime', 'numpy', 'optuna'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{fmnist_runtime.__version__}\n", "\n")


def test_unknown_names_come_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"unknown recipe 'simpel' \(did you mean 'simple'\?\); known recipes: "):
        get_recipe("simpel")


def test_recipes_are_stored_under_the_published_names() -> None:
    stored = RECIPES["nano"].to_dict()
    assert stored["optimiser"] == "adamw" and "optimizer" not in stored
    assert recipe_from_dict(stored) == RECIPES["nano"]


def test_a_tilde_after_an_equals_sign_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    given = parse("--data-dir=~/data", "--output=~/run", "--teacher=~/a", "--teacher=~/b")
    assert (given["data_dir"], given["output"]) == (tmp_path / "data", tmp_path / "run")
    assert list(given["teachers"]) == [tmp_path / "a", tmp_path / "b"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--data", "sample", "--json"], "--json, --data"),
        (["--recipe=custom", "-q", "--no-batch-norm"], "--recipe, --quiet, --no-batch-norm"),
        (["--epochs", "1"], "--epochs"),
    ],
)
@pytest.mark.parametrize("command", ["evaluate", "compare"])
def test_options_before_a_subcommand_are_refused(
    command: str, options: list[str], named: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The subcommand does not get them, although it may have options of the same names."""
    assert run_typer(app, args=[*options, command, str(tmp_path / "missing")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"error: {named} before {command}: write " in error and f" {command} first, then its options" in error


def _path_parameters(app: typer.Typer) -> list[tuple[str, typer.core.TyperArgument | typer.core.TyperOption]]:
    """Parameters that typer converts to paths, with the names of their subcommands."""
    group = typer.main.get_command(app)
    commands = {"": group, **group.commands}
    converted = ("Path", "_path")
    return [
        (name, each) for name, command in commands.items() for each in command.params if each.type.name in converted
    ]


def test_every_path_of_every_command_refuses_an_empty_text(capsys: pytest.CaptureFixture[str]) -> None:
    from fmnist_export.cli import app as export_app

    parameters = [*_path_parameters(app), *_path_parameters(export_app)]
    assert {"output", "data_dir", "model", "checkpoint", "artifacts", "clone"} <= {each.name for _, each in parameters}
    for command, parameter in parameters:
        with pytest.raises(typer.BadParameter, match="the path is empty"):
            parameter.type.convert("", parameter, None)
        assert parameter.type.name == "_path", (command, parameter.name)
    assert run_typer(app, args=["explore", "--output", ""]) == 2
    assert capsys.readouterr().err.count("\n") == 1
