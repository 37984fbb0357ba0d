"""What the service answers when it is used as meant."""

import json
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

from fmnist_runtime import Classifier
from fmnist_runtime.selftest import Golden, pack_golden
from fmnist_runtime.serve.cli import build_parser
from fmnist_runtime.serve.settings import RequestLimits

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.jpg"))


@pytest.mark.parametrize("options", [("--workers", 1), ("--workers", 2), ("--workers", 2, "--careful")])
def test_it_answers_as_the_command_does(serving, options: tuple) -> None:
    code = "from fmnist_runtime.cli.infer import main; main()"
    command = [sys.executable, "-c", code, *map(str, EXAMPLES), "--json", *options[2:]]
    done = subprocess.run(command, capture_output=True, check=True)
    expected = [
        {**json.loads(line), "path": path.name} for line, path in zip(done.stdout.splitlines(), EXAMPLES, strict=True)
    ]
    with serving(*options) as running, running.client() as client:
        assert len(running.workers()) == (2 if 2 in options else 0)
        response = client.post("/classify", files=[("f", (p.name, p.read_bytes(), "image/jpeg")) for p in EXAMPLES])
        assert response.status_code == 200 and response.json() == {"answers": expected}
        one = client.post("/classify", content=EXAMPLES[0].read_bytes(), headers={"content-type": "image/jpeg"})
        assert one.json() == {"answers": [{**expected[0], "path": "-"}]}


def test_answers_are_lines(service, photo: bytes) -> None:
    with service.client() as client:
        for response in (client.post("/classify", content=photo), client.post("/classify"), client.get("/readyz")):
            assert response.content.endswith(b"}\n") and response.content.count(b"\n") == 1


def test_parameters(service, photo: bytes) -> None:
    with service.client() as client:
        (answer,) = client.post("/classify?top_k=2&reject=false", content=photo).json()["answers"]
        assert len(answer["top"]) == 2 and answer["label"] is not None and not answer["rejected"]
        for query in ("top_k=0", "top_k=11", "top_k=x", "top_k=", "reject=no"):
            response = client.post(f"/classify?{query}", content=photo)
            assert response.status_code == 422 and query.split("=")[0] in response.json()["error"]
        for query in ("top_k=2&top_k=5", "reject=true&top_k=2&reject=true", "top_k&top_k=2"):
            response = client.post(f"/classify?{query}", content=photo)
            name = query.split("&")[-1].split("=")[0]
            assert response.status_code == 422
            assert response.json()["error"] == f"the parameter {name} is given more than once"
        for name, near in {"topk": "top_k", "rejects": "reject"}.items():
            response = client.post(f"/classify?{name}=1", content=photo)
            assert response.status_code == 422
            assert response.json()["error"] == f"unknown parameter '{name}'; did you mean {near}? Known: top_k, reject"
        unlike = client.post("/classify?v=2", content=photo)
        assert unlike.status_code == 422
        assert unlike.json()["error"] == "unknown parameter 'v'; known: top_k, reject", (
            "no guess without a similar name"
        )


@pytest.mark.parametrize("classes", [1, 2])
def test_a_model_of_few_classes_answers_with_all_of_them(serving, photo: bytes, make_model, classes: int) -> None:
    form = {"classes": classes, "labels": ["hat", "scarf"][:classes]}
    images = np.zeros((1, 1, 28, 28), np.uint8)
    golden = Golden(images, Classifier.load(make_model(**form)).logits(images), 1e-3)
    model = make_model(**form, selftest=pack_golden(golden))
    with serving("--model", model) as running, running.client() as client:
        (answer,) = client.post("/classify", content=photo).json()["answers"]
        assert sorted(top["label"] for top in answer["top"]) == ["hat", "scarf"][:classes]
        operation = client.get("/openapi.json").json()["paths"]["/classify"]["post"]
        (schema,) = [each["schema"] for each in operation["parameters"] if each["name"] == "top_k"]
        assert schema["default"] == schema["maximum"] == classes


def test_usual_mistakes_of_curl_have_advice(service, photo: bytes) -> None:
    with service.client() as client:
        upload = client.put("/classify", content=photo)
        assert upload.status_code == 405 and upload.headers["allow"] == "POST"
        assert "send the picture with POST" in upload.json()["error"]
        assert "--data-binary" not in upload.json()["error"], "curl sends it as a form's fields, which are refused"
        fields = client.post("/classify", content=photo, headers={"content-type": "application/x-www-form-urlencoded"})
        assert fields.status_code == 415
        assert "--data-binary @photo.jpg -H Content-Type:image/jpeg" in fields.json()["error"]
        for path in ("/classify/", "/clasify", "/healthz/"):
            missing = client.post(path, content=photo, follow_redirects=False)
            assert missing.status_code == 404, "curl shows nothing of a redirect"
            assert "pictures go to /classify" in missing.json()["error"]
        field = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nphoto.jpg\r\n--x--\r\n'
        no_file = client.post("/classify", content=field, headers={"content-type": "multipart/form-data; boundary=x"})
        assert no_file.status_code == 422 and "-F file=@photo.jpg" in no_file.json()["error"]


def test_one_bad_picture_does_not_spoil_the_others(service, photo: bytes) -> None:
    with service.client() as client:
        files = [("f", ("a.jpg", photo)), ("f", ("b.jpg", b"no picture")), ("f", ("c.jpg", photo))]
        good, bad, same = client.post("/classify?reject=false", files=files).json()["answers"]
    assert bad["label"] is None and "not a picture" in bad["error"]
    assert good["label"] == same["label"] and "error" not in good


def test_health_and_description(service) -> None:
    with service.client() as client:
        assert client.get("/healthz").json() == {"status": "alive"}
        assert client.get("/readyz").json() == {"status": "ready"}
        assert set(client.get("/openapi.json").json()["paths"]) >= {"/classify", "/healthz", "/readyz", "/metrics"}


def test_the_browser_s_page_comes_whole_and_with_this_model(service) -> None:
    from fmnist_runtime.model_file.store import find_model
    from fmnist_runtime.webpage import page_files

    files = page_files(find_model().read_bytes())
    with service.client() as client:
        for name, data in files.items():
            response = client.get(f"/{name}")
            assert response.content == data and "content-encoding" not in response.headers
            assert response.headers["x-content-type-options"] == "nosniff"
            tag = response.headers["etag"]
            for stored in (tag, f"W/{tag}", f'"other", {tag}'):  # a proxy that compresses makes a tag weak
                kept = client.get(f"/{name}", headers={"if-none-match": stored})
                assert kept.status_code == 304 and not kept.content
            assert client.get(f"/{name}", headers={"if-none-match": '"other"'}).content == data
        page = client.get("/")
        assert page.text.encode() == files["index.html"] and page.headers["content-type"].startswith("text/html")
        assert "text/javascript" in client.get("/app.js").headers["content-type"]
        assert client.get("/kernels.wasm").headers["content-type"] == "application/wasm"
        assert client.post("/app.js").status_code == 405


def test_metrics_count_what_was_answered(service, photo: bytes) -> None:
    names = ("fmnist_answers_total", "fmnist_rejected_total", "fmnist_confidence_count", "fmnist_unreadable_total")
    with service.client() as client:
        before = [service.metric(name, client) for name in names]
        client.post("/classify", content=photo)
        client.post("/classify?reject=false", content=photo)
        client.post("/classify", content=b"junk")
        after = [service.metric(name, client) for name in names]
        accepted, rejected, confidence, unreadable = (b - a for a, b in zip(before, after, strict=True))
        assert accepted + rejected == confidence == 2 and accepted >= 1 and unreadable == 1
        assert service.metric('fmnist_requests_total{route="/classify",status="422"}', client) >= 1


def test_the_log_is_json_and_tells_nothing_of_the_pictures(service, photo: bytes) -> None:
    with service.client() as client:
        response = client.post("/classify", files={"f": ("secret-name.jpg", photo)})
    until, events = time.monotonic() + 10, []  # the line is written after the response is sent
    while not events and time.monotonic() < until:
        events = [e for e in service.events() if e.get("id") == response.headers["x-request-id"]]
    (event,) = events
    assert event["event"] == "request" and event["status"] == 200 and event["route"] == "/classify"
    assert event["pictures"] == 1 and event["bytes"] > len(photo) and event["seconds"] > 0
    assert set(event) == {"time", "level", "event", "id", "method", "route", "status", "seconds", "bytes", "pictures"}
    assert "secret-name" not in service.log.read_text()


def test_token(serving, tmp_path: Path, photo: bytes) -> None:
    token = "0123456789abcdef"
    (tmp_path / "token").write_text(token + "\n")
    with serving("--token-file", tmp_path / "token") as running, running.client() as client:
        for header in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {token}"}):
            for response in (
                client.post("/classify", content=photo, headers=header),
                client.get("/metrics", headers=header),
            ):
                assert response.status_code == 401 and response.headers["www-authenticate"] == "Bearer"
        small = {"authorization": f"bearer {token}"}
        assert client.get("/metrics", headers=small).status_code == 200
        right = {"authorization": f"Bearer {token}"}
        assert client.post("/classify", content=photo, headers=right).status_code == 200
        assert client.get("/metrics", headers=right).status_code == 200
        assert client.get("/readyz").status_code == 200
        assert client.get("/openapi.json").json()["components"]["securitySchemes"]
        assert token not in running.log.read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--host", "192.0.2.1"], 2, b"cannot listen"),
        (["--port", "70000"], 2, b"'70000' is not a whole number from 0 to 65535"),
        (["--port", "http"], 2, b"'http' is not a whole number from 0 to 65535"),
        (["--token-file", "nowhere"], 1, b"no token can be read"),
        (["--model", "nothing.onnx"], 1, b"no such model"),
        (["--host", "a" * 300, "--workers", "1"], 2, b"cannot listen"),
        (["--host", "..", "--workers", "1"], 2, b"cannot listen"),
        (["--drain-seconds", "9" * 30], 2, b"from 0 to 1000000"),
        (["--drain-seconds", "soon"], 2, b"'soon' is not a whole number from 0 to 1000000"),
        (["--answer-seconds", "9" * 5000], 2, b"is not a whole number"),
        (["--max-pixels", "9" * 30], 2, b"from 1 to 1000000"),
        (["--max-body", "0"], 2, b"max-body"),
        (["--max-body", "257"], 2, b"'257' is not a whole number from 1 to 256"),
    ],
)
def test_bad_usage_is_one_clear_line(arguments: list[str], code: int, message: bytes) -> None:
    start = "from fmnist_runtime.serve.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", start, *arguments], capture_output=True, timeout=60)
    assert done.returncode == code and message in done.stderr
    assert done.stderr.startswith(b"error: ") and done.stderr.count(b"\n") == 1
    assert b"while attempting" not in done.stderr


def test_the_options_keep_to_what_all_requests_together_may_have() -> None:
    chosen = build_parser().parse_arguments(["--max-body", "256", "--max-files", "1024"])
    assert chosen.max_body << 20 == RequestLimits.held_bytes and chosen.max_files == RequestLimits.pictures
    assert build_parser().parse_arguments([]).answer_seconds == RequestLimits.answer_seconds


def test_a_port_in_use_is_one_clear_line(service) -> None:
    start = "from fmnist_runtime.serve.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", start, "--port", str(service.port)], capture_output=True, timeout=60)
    assert done.returncode == 2 and b"cannot listen" in done.stderr and done.stderr.count(b"\n") == 1
    with service.client() as client:
        assert isinstance(client.get("/readyz"), httpx.Response)
