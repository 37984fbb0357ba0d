"""The tables of README and guides are those of the results on disk."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from fmnist_train.files import split_at_section

ROOT = Path(__file__).parents[2]
STUDIES = ROOT / "benchmarks" / "studies"


def load() -> ModuleType:
    """Returns the script ``benchmarks/studies/tables.py`` as a module."""
    spec = importlib.util.spec_from_file_location("tables", STUDIES / "tables.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(STUDIES))
        patch.setitem(sys.modules, "tables", module)  # its dataclass looks there
        spec.loader.exec_module(module)
    return module


tables = load()


@pytest.mark.parametrize("name", list(tables.SECTIONS))
def test_the_table_is_that_of_the_results(name: str) -> None:
    section = tables.SECTIONS[name]
    page = ROOT / section.page
    before, after = split_at_section(page, name, section.writer)
    text = page.read_text("utf-8")[len(before) : -len(after)]
    assert section.render() in text, "make tables"


def test_the_model_table_has_a_row_for_each_model_that_ships() -> None:
    shipped = {path.parent.name for path in (ROOT / "artifacts").glob("*/model.int8.onnx")}
    assert set(tables.NAMES) <= shipped
