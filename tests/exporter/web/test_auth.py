"""Who may ask: the token, the Host header, the cookie."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest
from fastapi.testclient import TestClient

from evalgauge_exporter.config.token_file import read_token
from evalgauge_exporter.errors import TokenError
from evalgauge_exporter.web.app import create_app
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
    assert (asked.status_code, asked.headers["location"]) == (303, "./login")
    assert client.get("/login").status_code == 200
    refused = client.post("/login", data={"token": "wrong"})
    assert refused.headers["location"] == "./login?failed=1"
    assert "set-cookie" not in refused.headers
    taken = client.post("/login", data={"token": TOKEN})
    assert taken.headers["location"] == "./"
    cookie = taken.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie, "plain HTTP on loopback"
    assert client.get("/api/benchmark/status").status_code == 200


def test_the_cookie_of_an_encrypted_connection_stays_on_such(client: TestClient) -> None:
    taken = client.post("https://127.0.0.1/login", data={"token": TOKEN})
    assert "Secure" in taken.headers["set-cookie"]


@pytest.mark.parametrize("others", ['x={"a":1}', "no name=1", ";;=", "evalgauge_session=old", 'x="open'])
def test_cookies_of_other_servers_on_the_host_do_not_hide_the_session(client: TestClient, others: str) -> None:
    client.post("/login", data={"token": TOKEN})
    session = client.cookies["evalgauge_session"]
    client.cookies.clear()
    assert TOKEN not in session
    for cookie in (f"{others}; evalgauge_session={session}", f"evalgauge_session={session}; {others}"):
        assert client.get("/api/benchmark/status", headers={"cookie": cookie}).status_code == 200
    assert client.get("/api/benchmark/status", headers={"cookie": others}).status_code == 401


def test_a_token_of_any_letters_opens_by_header_and_by_cookie(tmp_path: Path) -> None:
    odd = 'schl\u00fcssel;"mit,allem%41'
    (tmp_path / "odd").write_text(odd, encoding="utf-8")
    app = create_app(exporter_of(tmp_path, token_file=tmp_path / "odd"))
    with TestClient(app, base_url="http://127.0.0.1", follow_redirects=False) as client:
        header = {b"authorization": f"Bearer {odd}".encode()}
        assert client.get("/api/benchmark/status", headers=header).status_code == 200
        assert client.post("/login", data={"token": odd}).headers["location"] == "./"
        assert client.get("/api/benchmark/status").status_code == 200


@pytest.mark.parametrize(
    ("path", "asked", "onward"),
    [
        ("/?run=a%26b&x=1", "./login?next=%2F%3Frun%3Da%2526b%26x%3D1", "./?run=a%26b&x=1"),
        ("/replay/a%20b/", "./../../login?next=%2Freplay%2Fa%2520b%2F", "./replay/a%20b/"),
        ("/metrics", "./login?next=%2Fmetrics", "./metrics"),
    ],
)
def test_the_form_leads_on_to_what_was_asked_for(client: TestClient, path: str, asked: str, onward: str) -> None:
    """The addresses are relative: a proxy may have put the exporter below a path of its own."""
    first = client.get(path, headers={"accept": "text/html"})
    assert first.headers["location"] == asked
    query = asked.partition("?")[2]
    again = client.post(f"/login?{query}", data={"token": "wrong"})
    assert again.headers["location"] == f"./login?failed=1&{query}"
    assert client.post(f"/login?{query}", data={"token": TOKEN}).headers["location"] == onward
    assert client.get(f"/login?{query}").headers["location"] == onward, "one who is signed in needs no form"


@pytest.mark.parametrize("wanted", ["https://evil.example", "//evil.example", "/\\evil.example", "evil", ".evil", ""])
def test_the_form_leads_to_no_other_server(client: TestClient, wanted: str) -> None:
    taken = client.post("/login", params={"next": wanted}, data={"token": TOKEN})
    there = urljoin("http://127.0.0.1/login", taken.headers["location"].replace("\\", "/"))
    assert there.startswith("http://127.0.0.1/")


def test_without_a_token_there_is_no_form(tmp_path: Path) -> None:
    with TestClient(create_app(exporter_of(tmp_path)), base_url="http://127.0.0.1", follow_redirects=False) as client:
        assert client.get("/login").headers["location"] == "./"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:9909", "localhost:9909", "LocalHost", "localhost.", "[::1]:9909", "[::1]"]
)
def test_own_names_are_allowed(tmp_path: Path, host: str) -> None:
    with TestClient(create_app(exporter_of(tmp_path)), base_url="http://127.0.0.1") as client:
        assert client.get("/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "127.0.0.1.evil.example", "", "x:y:z", "[::1", "[evil.example]", "[evil", "::1",
        "x@127.0.0.1", "127.0.0.1@evil.example", "127.0.0.1/x", "127.0.0.1:x", "localhost..", "0x7f.1",
    ],
)  # fmt: skip
def test_a_rebound_name_is_refused(tmp_path: Path, host: str) -> None:
    with TestClient(create_app(exporter_of(tmp_path)), base_url="http://127.0.0.1") as client:
        answer = client.get("/metrics", headers={"host": host})
        assert answer.status_code == 421
        assert "public_url" in answer.json()["error"]


def test_the_public_name_is_allowed(tmp_path: Path) -> None:
    app = create_app(exporter_of(tmp_path, public_url="https://evals.example.org/x"))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.get("/healthz", headers={"host": "evals.example.org"}).status_code == 200


@pytest.mark.parametrize("content", [b"short", b"two words that are long enough", b"\xff" * 20, b""])
def test_an_unusable_token_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(TokenError, match="token"):
        read_token(tmp_path / "token")
