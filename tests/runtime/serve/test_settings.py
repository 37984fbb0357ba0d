"""Settings of the service: limits that exclude each other, and tokens."""

import socket
from pathlib import Path

import pytest

from fmnist_runtime.errors import ConfigError, FileError
from fmnist_runtime.serve.server import listen
from fmnist_runtime.serve.settings import RequestLimits, read_token


def test_limits_of_all_requests_cover_one_request() -> None:
    with pytest.raises(ConfigError, match=r"all pictures \(1\) cannot be less than those of one request \(2\)"):
        RequestLimits(files=2, pictures=1)
    with pytest.raises(ConfigError, match=r"all bodies together \(9 bytes\) cannot be less than one \(10\)"):
        RequestLimits(body_bytes=10, held_bytes=9)
    assert RequestLimits(answer_seconds=30).work_seconds == 10


def test_a_token_is_one_long_word(tmp_path: Path) -> None:
    path = tmp_path / "token"
    for mark in ("", "\ufeff"):
        path.write_text(f"{mark}  {'a1' * 16}\n", "utf-8")
        assert read_token(path) == "a1" * 16


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"short", "one word of at least"),
        (b"two words " * 8, "one word of at least"),
        (b"a" * 40 + b"\x07", "one word of at least"),
        ("ä".encode() * 40, "one word of at least 16 ASCII characters"),
        (("a1" * 16).encode("utf-16"), "one word of at least 16 ASCII characters"),
        (None, "no token can be read"),
    ],
)
def test_other_tokens_are_refused(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FileError, match=message) as refusal:
        read_token(path)
    assert str(refusal.value).count(str(path)) == 1 and "Errno" not in str(refusal.value)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs an endless device")
def test_an_endless_token_file_is_refused() -> None:
    with pytest.raises(FileError, match="a token is one word"):
        read_token(Path("/dev/zero"))


def test_a_link_local_address_keeps_its_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system refuses ``fe80::1%eth0`` without the number of the interface, the last part of the address."""
    address = ("fe80::1", 8000, 0, 7)
    found = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", address)
    monkeypatch.setattr("socket.getaddrinfo", lambda *args, **options: [found])
    monkeypatch.setattr("socket.create_server", lambda given, **options: given)
    assert listen("fe80::1%eth0", 8000) == address


def test_variables_of_the_server_library_change_nothing(serving) -> None:
    code = "import os; os.environ |= {'WEB_CONCURRENCY': 'auto', 'FORWARDED_ALLOW_IPS': '*'}"
    with serving("--workers", 1, code=code) as running, running.client() as client:
        assert client.get("/healthz").status_code == 200
