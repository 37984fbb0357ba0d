"""Writes the page's scripts, with the parameters, to ``tests/web/page`` for the linters.

python tests/web/write_sources.py
"""

from pathlib import Path

from fmnist_runtime.model_file.store import find_model
from fmnist_runtime.webpage import page_files

FOLDER = Path(__file__).with_name("page")

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.js"):
        old.unlink()
    for name, data in page_files(find_model("nano").read_bytes()).items():
        if name.endswith(".js") and "/" not in name:
            (FOLDER / name).write_bytes(data)
