"""Build hook: adds the embedded models to the wheel, and to the source archive from which a wheel is built.

The models are committed once, in ``artifacts/``. Their names are in ``runtime/fmnist_runtime/models/names.txt``.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class EmbeddedModels(BuildHookInterface):  # type: ignore[type-arg]  # the configuration is not read
    """Maps each model's artifact to its path in the built archive."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the files; an editable install reads them from the checkout.

        Args:
            version: Kind of the build; "editable" for an editable install.
            build_data: Data of the build; ``force_include`` maps files to paths in the archive.
        """
        for name in Path(self.root, "runtime/fmnist_runtime/models/names.txt").read_text("utf-8").split():
            source = f"artifacts/{name}/model.int8.onnx"
            target = source if self.target_name == "sdist" else f"fmnist_runtime/models/{name}.onnx"
            build_data["force_include"][str(Path(self.root, source))] = target
