"""Links of the documentation lead somewhere, its commands exist, and its Python runs."""

import contextlib
import functools
import io
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "examples" / "README.md"])
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
SUBCOMMANDS = {
    "explore",
    "evaluate",
    "compare",
    "tune",
    "inspect",
    "c",
    "publish",
    "photos",
    "verify",
    "web",
    "selftest",
    "doctor",
    "models",
    "ray",
    "completion",
}
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
BLOCK = re.compile(r"^ *```([a-z]*)[^\n]*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(page: Path, *languages: str) -> Iterator[str]:
    """Yields the page's code blocks in these languages."""
    for language, text in BLOCK.findall(page.read_text("utf-8")):
        if language in languages:
            yield text


def anchors(page: Path) -> set[str]:
    """Returns the anchors of a page's headings, as GitHub and Zensical write them."""
    headings = HEADING.findall(BLOCK.sub("", page.read_text("utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    """Returns the page's relative links that lead to no file or no heading."""
    broken = []
    for link in LINK.findall(BLOCK.sub("", page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(link)
    return broken


@every_page
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    assert not broken_links(page)


def test_broken_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A heading\n\n[good](#a-heading) [bad](#another) [gone](gone.md) [web](https://example.org)\n")
    assert broken_links(page) == ["#another", "gone.md"]


def shell_commands(page: Path) -> Iterator[list[str]]:
    """Yields the words of each command in the page's shell blocks that is ours, or a file of ours."""
    for text in blocks(page, "sh"):
        for line in re.sub(r"\\\n\s*", " ", text).splitlines():
            for part in re.split(r"\||&&|;", re.sub(r"(^|\s)#.*$", "", line)):
                words = shlex.split(part)
                while words and (words[0] == "sudo" or re.match(r"[A-Z_]+=", words[0])):
                    words = words[1:]
                if words and (words[0].startswith("fmnist-") or words[0] in ("make", "python")):
                    yield words


@functools.cache
def help_text(program: str, subcommand: str | None) -> str:
    """Returns what ``PROGRAM [SUBCOMMAND] --help`` prints."""
    return run(program, *([subcommand] if subcommand else []), "--help")


def faults(words: list[str]) -> list[str]:
    """Returns what a command of the documentation names that does not exist."""
    program, arguments = words[0], words[1:]
    if program == "make":
        return [word for word in arguments if "=" not in word and f"\n{word}:" not in MAKEFILE]
    if program == "python":
        return [word for word in arguments[:1] if word.endswith(".py") and not (ROOT / word).is_file()]
    if program not in SCRIPTS:
        return [program]
    subcommand = arguments[0] if arguments and arguments[0] in SUBCOMMANDS else None
    if program == "fmnist-export":  # `export` is what it does without a subcommand
        subcommand = subcommand or "export"
    known = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", help_text(program, subcommand)))
    return [word for word in arguments if word.startswith("-") and word != "-" and word.split("=")[0] not in known]


@every_page
def test_every_command_has_the_options_that_the_page_uses(page: Path) -> None:
    assert not {" ".join(words): wrong for words in shell_commands(page) if (wrong := faults(words))}


def inline_commands(page: Path) -> Iterator[list[str]]:
    """Yields the words of each command of ours that stands within a sentence of the page."""
    for text in re.findall(r"`(fmnist-[a-z]+ [^`]+)`", BLOCK.sub("", page.read_text("utf-8"))):
        yield shlex.split(text)


@every_page
def test_every_command_in_a_sentence_has_its_options(page: Path) -> None:
    assert not {" ".join(words): wrong for words in inline_commands(page) if (wrong := faults(words))}


def test_commands_that_do_not_exist_are_found() -> None:
    assert faults(["fmnist-infer", "photo.jpg", "--colour"]) == ["--colour"]
    assert faults(["fmnist-guess", "photo.jpg"]) == ["fmnist-guess"]
    assert faults(["make", "nothing", "EXTRAS=test"]) == ["nothing"]
    assert faults(["python", "benchmarks/studies/none.py"]) == ["benchmarks/studies/none.py"]


@every_page
def test_every_python_block_compiles(page: Path) -> None:
    for number, text in enumerate(blocks(page, "python")):
        compile(text, f"{page.name}, Python block {number + 1}", "exec")


def test_the_readme_shows_what_its_commands_print(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    line, from_python = blocks(ROOT / "README.md", "text")
    command = next(blocks(ROOT / "README.md", "sh")).splitlines()[-1]
    assert run(*shlex.split(command)) == line, "make tables"
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(next(blocks(ROOT / "README.md", "python")), {})
    assert out.getvalue() == from_python


def run(program: str, *arguments: str) -> str:
    """Returns the standard output of one of our commands."""
    module, function = SCRIPTS[program].split(":")
    code = f"from {module} import {function} as main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "COLUMNS": "300"},  # wide enough that no option is cut
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout
