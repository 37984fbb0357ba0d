"""Writes the page's own scripts, with the parameters, to ``tests/web/page`` for the linters.

python tests/web/write_sources.py
"""

from pathlib import Path

from fmnist_runtime.webpage import page_files

FOLDER = Path(__file__).with_name("page")

if __name__ == "__main__":
    for name, data in page_files(b"").items():
        if name.endswith(".js") and "/" not in name:
            FOLDER.mkdir(exist_ok=True)
            (FOLDER / name).write_bytes(data)
