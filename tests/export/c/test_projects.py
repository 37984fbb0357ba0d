"""The generated folder as a CMake project, an ESP-IDF component, an Arduino and a PlatformIO library; the guide's commands."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from fmnist_export.c.emit import Source, generate
from fmnist_runtime.model_file.metadata import Metadata
from fmnist_runtime.model_file.store import find_model
from fmnist_runtime.network.reader import read_network

ROOT = Path(__file__).parents[3]
Generated = Callable[[str], tuple[Path, Source]]
ESP_IDF = """
cmake_minimum_required(VERSION 3.10)
project(firmware C)
set(ESP_PLATFORM 1)
macro(idf_component_register)  # of ESP-IDF: a macro in effect, because it sets COMPONENT_LIB for its caller
  cmake_parse_arguments(ARG "" "" "SRCS;INCLUDE_DIRS" ${ARGN})
  set(COMPONENT_LIB component)
  add_library(component STATIC ${ARG_SRCS})
  target_include_directories(component PUBLIC ${ARG_INCLUDE_DIRS})
endmacro()
add_subdirectory(components/model)
add_executable(selftest components/model/extras/selftest.c)
target_link_libraries(selftest component m)
"""
ARDUINO = """
#include <stddef.h>
#include <stdint.h>
struct Port {
  void begin(long) {}
  size_t readBytes(char *, size_t size) { return size; }
  void println(const char *) {}
} Serial;
"""
CATEGORIES = {
    "Display", "Communication", "Signal Input/Output", "Sensors", "Device Control", "Timing", "Data Storage",
    "Data Processing", "Other",
}  # fmt: skip
"""Categories of the Arduino library specification."""


def run(*command: object, cwd: Path | None = None) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_commands_of_the_guide(tmp_path: Path, need: Callable[[str], str]) -> None:
    """Five commands lead from pip to a tested firmware folder; the first two make the environment that runs this test."""
    for tool in ("cc", "cmake", "ctest"):
        need(tool)
    text = (ROOT / "docs" / "microcontrollers.md").read_text("utf-8")
    (block,) = re.findall(r"## Five commands[^\n]*\n+```sh\n(.*?)```", text, re.DOTALL)
    venv, pip, *commands = block.splitlines()
    assert len(commands) == 3 and venv.startswith("python -m venv") and pip == "pip install '.[export]'"
    (tmp_path / "fmnist-export").write_text(f'#!/bin/sh\nexec {sys.executable} -m fmnist_export "$@" --data sample\n')
    (tmp_path / "fmnist-export").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    script = "set -e\n" + "\n".join(commands)
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "100% tests passed, 0 tests failed out of 1" in done.stdout
    assert (tmp_path / "firmware" / "src" / "fmnist_nano.c").is_file()


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_cmake_project(compiler: str, tmp_path: Path, generated: Generated, need: Callable[[str], str]) -> None:
    folder, _ = generated("nano")
    run(need("cmake"), "-S", folder, "-B", tmp_path, f"-DCMAKE_C_COMPILER={need(compiler)}")
    run(need("cmake"), "--build", tmp_path)
    assert "100% tests passed" in run(need("ctest"), "--test-dir", tmp_path)


def test_two_models_in_one_cmake_project(tmp_path: Path, generated: Generated, need: Callable[[str], str]) -> None:
    """Each folder is a library alone there: two targets of one name would be an error."""
    folders = [generated(name)[0] for name in ("nano", "micro")]
    parts = "\n".join(f'add_subdirectory("{folder}" {number})' for number, folder in enumerate(folders))
    test = folders[0] / "extras" / "selftest.c"
    (tmp_path / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.10)\nproject(app C)\n{parts}\n"
        f'add_executable(selftest "{test}")\ntarget_link_libraries(selftest fmnist_nano fmnist_micro)\n'
    )
    run(need("cmake"), "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_C_COMPILER={need('gcc')}")
    run(need("cmake"), "--build", tmp_path / "build")
    assert "PASS" in run(tmp_path / "build" / "selftest")


def test_component_of_esp_idf(tmp_path: Path, generated: Generated, need: Callable[[str], str]) -> None:
    """ESP-IDF itself is not installed: its one function is replaced."""
    folder, _ = generated("nano")
    (tmp_path / "components").mkdir()
    (tmp_path / "components" / "model").symlink_to(folder, target_is_directory=True)
    (tmp_path / "CMakeLists.txt").write_text(ESP_IDF)
    run(need("cmake"), "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_C_COMPILER={need('gcc')}")
    run(need("cmake"), "--build", tmp_path / "build")
    assert "PASS" in run(tmp_path / "build" / "selftest")


def test_arduino_library(tmp_path: Path, generated: Generated, need: Callable[[str], str]) -> None:
    """The fields that the Arduino library specification requires, its layout, and a sketch that compiles as C++."""
    folder, _ = generated("nano")
    fields = dict(line.split("=", 1) for line in (folder / "library.properties").read_text("utf-8").splitlines())
    required = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"}
    assert required <= fields.keys() and all(fields.values())
    assert re.fullmatch(r"[A-Za-z0-9][\w .-]{0,62}", fields["name"]) and re.fullmatch(
        r"\d+\.\d+\.\d+", fields["version"]
    )
    assert fields["category"] in CATEGORIES and not fields["sentence"].lower().startswith("arduino")
    assert (folder / "src" / fields["includes"]).is_file()
    (sketch,) = (folder / "examples").rglob("*.ino")
    assert sketch.stem == sketch.parent.name
    (tmp_path / "stub.h").write_text(ARDUINO)
    command = [need("g++"), "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-include", tmp_path / "stub.h"]
    run(*command, f"-I{folder / 'src'}", "-x", "c++", sketch)


def test_the_library_of_own_images_states_their_license() -> None:
    """Weights from images of a user's own are under no license of Fashion-MNIST, and the license's text stays a text."""
    data = find_model("nano").read_bytes()
    metadata = Metadata.from_props({p.key: p.value for p in onnx.load_model_from_string(data).metadata_props})
    own = {"training": {"dataset": "things"}, "licence": 'the owner\'s "own"\n*/ #error'}
    changed = metadata._replace(document={**metadata.document, **own})
    files = generate(read_network(data), Source("nano", "nano.onnx", data, changed))
    texts = {str(path): text for path, text in files.items()}
    assert not [name for name, text in texts.items() if re.search(r"Fashion|zalando|\bMIT\b", text)]
    manifest = json.loads(texts["library.json"])
    assert manifest["description"].endswith("nano, a classifier as plain C.") and "license" not in manifest
    assert 'License: the owner\'s "own"__/ #error' in texts["library.properties"]
    assert texts["src/fmnist_nano.h"].count("*/") == texts["src/fmnist_nano.h"].count("/*")


def test_platformio_library(generated: Generated) -> None:
    """The fields of PlatformIO's manifest; its compiler packages come from a registry of their own, and are not run here."""
    folder, _ = generated("nano")
    manifest = json.loads((folder / "library.json").read_text("utf-8"))
    assert {"name", "version", "description", "license", "frameworks", "platforms"} <= manifest.keys()
    assert re.fullmatch(r"\d+\.\d+\.\d+", manifest["version"])
    assert manifest["license"] == "MIT" and "a Fashion-MNIST classifier" in manifest["description"]
    source = folder / manifest["build"]["srcDir"]
    assert (source / manifest["headers"]).is_file() and list(source.glob("*.c"))
