"""Multipart bodies: names of any bytes, preambles, and structured mutations."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from fmnist_runtime.serve.multipart import read_files

HEADER = "multipart/form-data; boundary=x"


def part(disposition: bytes, data: bytes = b"data") -> bytes:
    return b"--x\r\nContent-Disposition: form-data; " + disposition + b"\r\n\r\n" + data + b"\r\n"


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (b"name=f; filename*=UTF-8''na%C3%AFve%20%E2%82%AC.png", "naïve €.png"),
        (b"name=f; filename*=utf-8'de'%c3%bc.png", "ü.png"),
        (b"name=f; filename*=ISO-8859-1''%fc.png", "ü.png"),
        (b"name=f; filename=\"fallback.png\"; filename*=UTF-8''%C3%BC.png", "ü.png"),
        (b"name=f; FileName*=UTF-8''%C3%BC.png; filename=fallback.png", "ü.png"),
        (b"name=f; filename=\"a; filename*=UTF-8''b.png\"", "a; filename*=UTF-8''b.png"),
        (b"name=f; filename=fallback.png; filename*=broken", "fallback.png"),
        (b"name=f; filename=fallback.png; filename*=EBCDIC''%C3", "fallback.png"),
        (b'name=f; filename="\xff\xfe.png"', "\ufffd\ufffd.png"),
        (b"name=f; filename*=UTF-8''%FF.png", "\ufffd.png"),
        ('name=f; filename="ü.png"'.encode(), "ü.png"),
        (b'name=f; filename=""', "-"),
    ],
)
def test_names_of_any_bytes(disposition: bytes, name: str) -> None:
    (file,) = read_files(HEADER, part(disposition) + b"--x--", 1)
    assert (file.name, file.data) == (name, b"data")


@pytest.mark.parametrize(
    "preamble", [b"\r\n", b"This is a form.\r\n", b"--y\r\n--xy and --x\r\n\r\n", b"\xff" * 99 + b"\r\n"]
)
def test_a_preamble_is_discarded(preamble: bytes) -> None:
    (file,) = read_files(HEADER, preamble + part(b"filename=a") + b"--x--\r\nan epilogue", 1)
    assert (file.name, file.data) == ("a", b"data")


def test_many_parameters_are_refused_before_they_are_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    name = b"a;" * 250 + b".png"
    (file,) = read_files(HEADER + ";" * 200, part(b'filename="' + name + b'"') + b"--x--", 1)
    assert file.name == name.decode()
    for header, form in ((HEADER + ";" * 257, part(b"filename=a")), (HEADER, part(b"filename=a" + b";a=" * 257))):
        with pytest.raises(HTTPException) as refusal:
            read_files(header, form + b"--x--", 1)
        assert refusal.value.status_code == 422 and "more than 256 parameters" in refusal.value.detail
    monkeypatch.setattr("fmnist_runtime.serve.multipart.parse_options_header", lambda *_: pytest.fail("parsed"))
    with pytest.raises(HTTPException):
        read_files(HEADER + ";" * 1_000_000, b"", 1)


@pytest.mark.parametrize("encoding", [b"base64", b"Quoted-Printable", b"\xff"])
def test_encoded_files_are_refused_as_such(encoding: bytes) -> None:
    body = part(b"filename=a\r\nContent-Transfer-Encoding: " + encoding) + b"--x--"
    with pytest.raises(HTTPException) as refusal:
        read_files(HEADER, body, 1)
    assert refusal.value.status_code == 422 and "send the bytes of the file" in refusal.value.detail


@pytest.mark.parametrize("encoding", [b"binary", b"8BIT", b"7bit"])
def test_other_encodings_leave_the_bytes_as_they_are(encoding: bytes) -> None:
    (file,) = read_files(HEADER, part(b"filename=a\r\ncontent-transfer-encoding: " + encoding) + b"--x--", 1)
    assert file.data == b"data"


def test_a_form_whose_file_was_not_chosen_is_without_a_file() -> None:
    with pytest.raises(HTTPException, match="without a file"):
        read_files(HEADER, part(b'name=f; filename=""', b"") + part(b"name=g") + b"--x--", 2)


def test_several_files_in_one_part_are_named() -> None:
    """As ``curl -F 'file=@a.jpg,b.jpg'`` sends them (RFC 2388, section 4.2)."""
    inside = b"--y\r\nContent-Disposition: attachment; filename=a.jpg\r\n\r\ndata\r\n--y--\r\n"
    body = b"--x\r\nContent-Disposition: form-data; name=f\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n"
    with pytest.raises(HTTPException) as refusal:
        read_files(HEADER, body + inside + b"\r\n--x--\r\n", 8)
    assert refusal.value.detail == "several files in one part: send each in a part of its own (with curl: -F for each)"


def test_many_fields_are_not_called_files() -> None:
    with pytest.raises(HTTPException, match="more than 18 parts in one request"):
        read_files(HEADER, part(b"name=f") * 100 + b"--x--", 2)


PIECES = [
    b"--x", b"--x--", b"\r\n", b"\n", b"\r\n\r\n", b"Content-Disposition: form-data", b"; filename=a", b"; filename=\"",
    b"; filename*=UTF-8''%", b"; filename*=''", b"; name=f", b"Content-Type: image/png", b": ", b"\0", b"\xff\xfe",
    b"data", b"--", b"x" * 5000, b"Content-Transfer-Encoding: base64",
]  # fmt: skip


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A valid form, or loose pieces, with some slices removed, doubled, or replaced."""
    count = draw(st.integers(0, 3))
    body = b"".join(part(b"name=f; filename=%d" % i, bytes([i]) * 9) for i in range(count)) + b"--x--\r\n"
    if draw(st.booleans()):
        body = b"".join(draw(st.lists(st.sampled_from(PIECES), max_size=12)))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 40)))
        middle = draw(st.sampled_from([b"", body[start:end] * 2, *PIECES]))
        body = body[:start] + middle + body[end:]
    return body


@settings(max_examples=500)
@given(bodies(), st.sampled_from([HEADER, "multipart/form-data", 'multipart/form-data; boundary=""', HEADER + "; a"]))
def test_mutated_forms_are_read_or_refused(body: bytes, header: str) -> None:
    try:
        files = read_files(header, body, 2)
    except HTTPException as refusal:
        assert refusal.status_code in (413, 422) and refusal.detail.isprintable()
    else:
        assert 1 <= len(files) <= 2 and sum(len(file.data) for file in files) <= len(body)
        assert all(file.name.encode() for file in files)
