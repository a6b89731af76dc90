"""Who may ask: the token, the Host header, the cookie."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from evalgauge_exporter.app import create_app
from evalgauge_exporter.guard import TokenError, read_token
from tests.exporter.runs import exporter_of

TOKEN = "a-token-of-many-characters"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    app = create_app(exporter_of(tmp_path, token_file=tmp_path / "token"))
    with TestClient(app, base_url="http://127.0.0.1", follow_redirects=False) as client:
        yield client


@pytest.mark.parametrize(
    "path", ["/metrics", "/readyz", "/api/benchmark/status", "/api/benchmark-sse", "/openapi.json"]
)
def test_without_the_token_there_is_no_answer(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 401
    assert "Bearer" in answer.json()["error"]


def test_healthz_is_open(client: TestClient) -> None:
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("header", [f"Bearer {TOKEN}", f"bearer {TOKEN}"])
def test_the_bearer_token_opens(client: TestClient, header: str) -> None:
    assert client.get("/api/benchmark/status", headers={"authorization": header}).status_code == 200


@pytest.mark.parametrize("header", ["Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \u00e9"])
def test_anything_else_does_not(client: TestClient, header: str) -> None:
    assert client.get("/api/benchmark/status", headers={b"authorization": header.encode()}).status_code == 401


def test_a_page_leads_to_the_form_and_the_form_to_a_cookie(client: TestClient) -> None:
    asked = client.get("/", headers={"accept": "text/html"})
    assert (asked.status_code, asked.headers["location"]) == (303, "/login")
    assert client.get("/login").status_code == 200
    refused = client.post("/login", data={"token": "wrong"})
    assert refused.headers["location"] == "/login?failed=1"
    assert "set-cookie" not in refused.headers
    taken = client.post("/login", data={"token": TOKEN})
    assert taken.headers["location"] == "/"
    cookie = taken.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert client.get("/api/benchmark/status").status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:9909", "localhost:9909", "[::1]:9909"])
def test_own_names_are_known(tmp_path: Path, host: str) -> None:
    with TestClient(create_app(exporter_of(tmp_path)), base_url="http://127.0.0.1") as client:
        assert client.get("/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "x:y:z"])
def test_a_name_that_was_pointed_here_by_others_is_refused(tmp_path: Path, host: str) -> None:
    with TestClient(create_app(exporter_of(tmp_path)), base_url="http://127.0.0.1") as client:
        answer = client.get("/metrics", headers={"host": host})
        assert answer.status_code == 421
        assert "public_url" in answer.json()["error"]


def test_the_public_name_is_known(tmp_path: Path) -> None:
    app = create_app(exporter_of(tmp_path, public_url="https://evals.example.org/x"))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.get("/healthz", headers={"host": "evals.example.org"}).status_code == 200


@pytest.mark.parametrize("content", [b"short", b"two words that are long enough", b"\xff" * 20, b""])
def test_a_token_that_guards_nothing_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(TokenError, match="token"):
        read_token(tmp_path / "token")
