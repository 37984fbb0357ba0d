"""Model file of the browser page: some fields of the metadata, and the network as data for the page's kernels.

| bytes | content |
|---|---|
| 8 | ``MAGIC`` |
| 32 | SHA-256 of all that follows |
| 4 | length of the JSON, a multiple of 4 |
| | JSON: the fields below, UTF-8, padded with spaces |
| | data of ``Program`` |

The JSON holds ``labels``, ``temperature``, ``reject``, ``selftest`` and ``sha256`` of the ONNX file's metadata, and
``memory``: the numbers of ``Program``.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from typing import Any

from fmnist_runtime.errors import ModelError
from fmnist_runtime.model_file.integrity import is_ort, verify_checksum, verify_structure
from fmnist_runtime.model_file.metadata import Metadata
from fmnist_runtime.network.layers import Network
from fmnist_runtime.network.onnx_graph import read_graph
from fmnist_runtime.network.program import write_program
from fmnist_runtime.network.reader import read_network

__all__ = ["MAGIC", "pack_model", "page_model"]

MAGIC = b"FMNISTW1"
"""First bytes of the file; the last one is the version of this format."""


def page_model(model: bytes) -> bytes:
    """Returns an int8 model as the file that the page loads.

    Args:
        model: Contents of an ONNX file.

    Raises:
        ModelError: The file is damaged, in the ORT format or not int8, or has a layer without an integer kernel.
    """
    if is_ort(model):
        raise ModelError("the page is made from an ONNX file: name the .onnx file beside this .ort file")
    verify_structure(model)
    verify_checksum(model)
    metadata = Metadata.from_props(read_graph(model).metadata_props)
    if metadata.precision != "int8":
        raise ModelError(
            f"the page computes in integers, and this model is {metadata.precision}: export it with --quantize"
        )
    document = {key: metadata.document.get(key) for key in ("labels", "temperature", "reject", "selftest", "sha256")}
    return pack_model(document, read_network(model, metadata.temperature))


def pack_model(document: Mapping[str, Any], network: Network) -> bytes:
    """Returns the page's model file.

    Args:
        document: Fields of the metadata, JSON-ready.
        network: Layers of the model.
    """
    program = write_program(network)
    memory = {name: value for name, value in program._asdict().items() if name != "data"}
    document = {**document, "memory": memory}
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    content = struct.pack("<I", len(text)) + text + program.data
    return MAGIC + hashlib.sha256(content).digest() + content
