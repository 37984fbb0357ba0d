"""Installed size of distributions."""

from fmnist_bench.distributions import closure, installed_bytes


def test_what_is_installed_is_counted_with_what_it_requires() -> None:
    assert {"onnxruntime", "numpy", "protobuf"} <= set(closure(("onnxruntime",)))
    assert installed_bytes("numpy") > 1e7
