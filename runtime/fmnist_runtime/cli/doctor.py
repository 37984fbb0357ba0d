"""``fmnist-infer doctor``: properties of this device, and the recommended model, export target and number of threads."""

import json
import platform
from dataclasses import asdict, dataclass
from typing import Any

import onnxruntime
import PIL

from fmnist_runtime.classifier import PROVIDERS
from fmnist_runtime.machine import describe_machine
from fmnist_runtime.model_file.store import DEFAULT_MODEL, embedded_models

__all__ = ["Advice", "advise", "examine", "report"]

_SAFE_INT8 = frozenset(["avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"])
"""Instruction sets that add products of 8-bit numbers in 32 bits, so that sums of 8-bit weights cannot saturate."""
_MIN_MEMORY = 128 << 20
"""Memory of a device in bytes, below which the advice contains a warning: twice the memory of one process."""


@dataclass(frozen=True)
class Advice:
    """Recommended options for a device, with reasons."""

    model: str
    """Value for ``--model``."""
    target: str
    """Value for ``fmnist-export --target``."""
    threads: int
    """Value for ``--threads``."""
    reasons: tuple[str, ...]
    """Reasons for the recommendation, one line each."""


def examine() -> dict[str, Any]:
    """Returns the properties of this device, JSON-ready.

    Returns:
        The properties of ``describe_machine``, versions of Pillow and onnxruntime, available execution providers, and names
        of the embedded models.
    """
    short = {full: name for name, full in PROVIDERS.items()}
    return describe_machine() | {
        "pillow": PIL.__version__,
        "wheel": f"{onnxruntime.__version__} for {platform.machine()}, Python {platform.python_version()}",
        "providers": [short[full] for full in onnxruntime.get_available_providers() if full in short],
        "models": list(embedded_models()),
    }


def advise(facts: dict[str, Any]) -> Advice:
    """Returns the recommended options for a device.

    Args:
        facts: Result of ``examine``; only ``flags`` and ``memory`` (bytes, or None) are used.
    """
    reasons = ["one thread: the network is small; a second thread gains little and costs power; --threads for more"]
    if _SAFE_INT8 & set(facts["flags"]):
        reasons.append("target portable: as fast here as 8-bit weights (vnni), with the same bits on every processor")
    else:
        reasons.append("target portable: 8-bit weights may saturate on this processor, silently; 7-bit weights cannot")
    if facts["memory"] and facts["memory"] < _MIN_MEMORY:
        reasons.append(f"memory is short: {facts['memory'] >> 20} MiB; the process takes about 70")
    return Advice(DEFAULT_MODEL, "portable", 1, tuple(reasons))


def report(*, as_json: bool) -> str:
    """Returns the properties of this device and the recommended options, as a text table or as JSON."""
    facts = examine()
    advice = advise(facts)
    if as_json:
        return json.dumps({"device": facts, "advice": asdict(advice)})
    limit = facts["cgroup_limit"]
    rows = {
        "processor": f"{facts['processor']} ({facts['architecture']})",
        "for int8": ", ".join(facts["flags"]) or "unknown",
        "CPUs": f"{facts['cpus_allowed']} of {facts['cpus']}" + (f", control group {limit:g}" if limit else ""),
        "memory": f"{facts['memory'] >> 20} MiB" if facts["memory"] else "unknown",
        "onnxruntime": facts["wheel"],
        "providers": ", ".join(facts["providers"]),
        "models": ", ".join(facts["models"]),
        "use": f"--model {advice.model} --threads {advice.threads}; export with --target {advice.target}",
    }
    lines = [f"{name:<12} {value}" for name, value in rows.items()]
    return "\n".join([*lines, *(f"{'':<12} {reason}" for reason in advice.reasons)])
