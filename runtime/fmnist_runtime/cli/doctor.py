"""``fmnist-infer --doctor``: what this device can do, and which model, target and threads suit it."""

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

_EIGHT_BIT = frozenset(["avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"])
"""Instruction sets whose 8-bit products are summed in 32 bits: weights of 8 bits cannot saturate."""
_LEAST_MEMORY = 128 << 20
"""Bytes: twice what the process takes."""


@dataclass(frozen=True)
class Advice:
    """What to use here, and why."""

    model: str
    target: str
    """Of ``fmnist-export --target``."""
    threads: int
    reasons: tuple[str, ...]


def examine() -> dict[str, Any]:
    """Facts about this device, JSON-ready: those of the benchmark, and the wheel and providers of onnxruntime."""
    short = {full: name for name, full in PROVIDERS.items()}
    return describe_machine() | {
        "pillow": PIL.__version__,
        "wheel": f"{onnxruntime.__version__} for {platform.machine()}, Python {platform.python_version()}",
        "providers": [short[full] for full in onnxruntime.get_available_providers() if full in short],
        "models": list(embedded_models()),
    }


def advise(facts: dict[str, Any]) -> Advice:
    """The choice that suits the facts; see ``examine``."""
    reasons = ["one thread: the network is so small that a second one gains little and costs power; --threads for more"]
    if _EIGHT_BIT & set(facts["flags"]):
        reasons.append("target portable is as fast here as 8-bit weights (vnni), and gives the same bits everywhere")
    else:
        reasons.append("target portable: 8-bit weights may saturate on this processor, silently; 7-bit weights cannot")
    if facts["memory"] and facts["memory"] < _LEAST_MEMORY:
        reasons.append(f"memory is short: {facts['memory'] >> 20} MiB, and the process takes about 70")
    return Advice(DEFAULT_MODEL, "portable", 1, tuple(reasons))


def report(*, as_json: bool) -> str:
    """Facts and advice, as text or JSON."""
    facts = examine()
    advice = advise(facts)
    if as_json:
        return json.dumps({"device": facts, "advice": asdict(advice)})
    limit = facts["cgroup_limit"]
    rows = {
        "processor": f"{facts['processor']} ({facts['architecture']})",
        "for int8": ", ".join(facts["flags"]) or "nothing known",
        "CPUs": f"{facts['cpus_allowed']} of {facts['cpus']}" + (f", control group {limit:g}" if limit else ""),
        "memory": f"{facts['memory'] >> 20} MiB" if facts["memory"] else "unknown",
        "onnxruntime": facts["wheel"],
        "providers": ", ".join(facts["providers"]),
        "models": ", ".join(facts["models"]),
        "use": f"--model {advice.model} --threads {advice.threads}; export with --target {advice.target}",
    }
    lines = [f"{name:<12} {value}" for name, value in rows.items()]
    return "\n".join([*lines, *(f"{'':<12} {reason}" for reason in advice.reasons)])
