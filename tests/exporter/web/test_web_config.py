"""The web configuration: TLS, client certificates and users, as Prometheus' exporter-toolkit has them."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import httpx
import pytest

from evalgauge_exporter.config.web_config import load_web_config
from evalgauge_exporter.errors import ConfigError
from evalgauge_exporter.web.credentials import Users
from evalgauge_exporter.web.server import serving
from evalgauge_exporter.web.tls import create_ssl_context
from tests.exporter.runs import exporter_of, small_run
from tests.exporter.scraping import get
from tests.exporter.waiting import wait_for
from tests.exporter.web.certificates import Authority
from tests.parts import prometheus
from tests.ports import free_port

PASSWORD = "correct horse"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()


def write(folder: Path, text: str) -> Path:
    file = folder / "web.yml"
    file.write_text(text)
    return file


@contextlib.contextmanager
def exporter(tmp_path: Path, text: str) -> Iterator[str]:
    """An exporter with this web configuration; its URL."""
    with serving(exporter_of(tmp_path / "results", web_config_file=write(tmp_path, text))) as url:
        yield url


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    (tmp_path / "results").mkdir()
    return Authority(tmp_path)


def client(authority: Authority, cert: tuple[Path, Path] | None = None) -> httpx.Client:
    context = ssl.create_default_context(cafile=str(authority.file))
    if cert is not None:
        context.load_cert_chain(*cert)
    return httpx.Client(verify=context, timeout=60)


TLS = "tls_server_config: {cert_file: exporter.crt, key_file: exporter.key}\n"


def test_pages_are_served_over_tls_alone(tmp_path: Path, authority: Authority) -> None:
    authority.sign("exporter")
    with exporter(tmp_path, TLS) as url:
        assert url.startswith("https://")
        with client(authority) as web:
            assert web.get(f"{url}/healthz").text == "ok\n"
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"{url.replace('https', 'http')}/healthz", timeout=10)


def test_a_certificate_and_key_may_stand_in_the_file(tmp_path: Path, authority: Authority) -> None:
    cert, key = authority.sign("exporter")
    text = json.dumps({"tls_server_config": {"cert": cert.read_text(), "key": key.read_text()}})
    with exporter(tmp_path, text) as url, client(authority) as web:
        assert web.get(f"{url}/healthz").status_code == 200


MUTUAL = """
tls_server_config:
  cert_file: exporter.crt
  key_file: exporter.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.pem
"""


def test_only_clients_with_a_certificate_of_the_authority_get_in(tmp_path: Path, authority: Authority) -> None:
    authority.sign("exporter")
    (tmp_path / "other").mkdir()
    foreign = Authority(tmp_path / "other").sign("prometheus")
    with exporter(tmp_path, MUTUAL) as url:
        with client(authority, authority.sign("prometheus")) as web:
            assert web.get(f"{url}/metrics").status_code == 200
        for wrong in (None, foreign):
            with client(authority, wrong) as web, pytest.raises(httpx.HTTPError):
                web.get(f"{url}/metrics")


def test_only_clients_with_an_allowed_name_get_in(tmp_path: Path, authority: Authority) -> None:
    authority.sign("exporter")
    with exporter(tmp_path, f"{MUTUAL}  client_allowed_sans: [prometheus]\n") as url:
        with client(authority, authority.sign("prometheus")) as web:
            assert web.get(f"{url}/metrics").status_code == 200
        with client(authority, authority.sign("someone")) as web, pytest.raises(httpx.HTTPError):
            web.get(f"{url}/metrics")


def test_a_user_signs_in_with_a_password(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    with exporter(tmp_path, f"basic_auth_users: {{ada: '{HASH}'}}") as url:
        for path in ("/metrics", "/", "/live/base.css", "/api/benchmark/status", "/login"):
            if path != "/login":
                refused = httpx.get(f"{url}{path}", headers={"accept": "text/html"}, timeout=60)
                assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Basic realm="evalgauge"')
            assert httpx.get(f"{url}{path}", auth=("ada", PASSWORD), timeout=60).status_code in (200, 303)
        for wrong in (("ada", "wrong"), ("eve", PASSWORD), ("ada", ""), ("", PASSWORD), ("ada", PASSWORD * 20)):
            assert httpx.get(f"{url}/metrics", auth=wrong, timeout=60).status_code == 401
        for header in ("Basic", "Basic !!", "Basic YWRh", f"Bearer {PASSWORD}"):
            assert httpx.get(f"{url}/metrics", headers={"authorization": header}, timeout=60).status_code == 401
        assert httpx.get(f"{url}/healthz", timeout=60).status_code == 200


def test_headers_are_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    text = "http_server_config: {headers: {Strict-Transport-Security: max-age=60, X-Frame-Options: SAMEORIGIN}}"
    with exporter(tmp_path, text) as url:
        headers = httpx.get(f"{url}/healthz", timeout=60).headers
        assert (headers["strict-transport-security"], headers["x-frame-options"]) == ("max-age=60", "SAMEORIGIN")
        assert "default-src 'none'" in headers["content-security-policy"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tls_server_config: {cert_file: a}", "write either key_file or key"),
        ("tls_server_config: {cert_file: a, key_file: b, kye: c}", "unknown key 'tls_server_config.kye'"),
        ("tls: {}", "unknown key 'tls'"),
        ("basic_auth_users: {ada: secret}", "not a bcrypt hash"),
        ("tls_server_config: {cert_file: a, key_file: b, client_auth_type: RequireAnyClientCert}", "always verified"),
        (
            "tls_server_config: {cert_file: a, key_file: b, client_auth_type: RequireAndVerifyClientCert}",
            "needs client_ca_file",
        ),
        ("tls_server_config: {cert_file: a, key_file: b, cipher_suites: [ROT13]}", "unknown cipher suite 'ROT13'"),
        ("http_server_config: {headers: {Set-Cookie: a}}", "http_server_config.headers.Set-Cookie"),
        ("[1]", "write a mapping"),
        ("a: [", "not valid YAML"),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_web_config(write(tmp_path, text))
    assert message in str(error.value)
    assert str(error.value).startswith(str(tmp_path))
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


def test_certificates_that_cannot_be_used_are_one_line(tmp_path: Path, authority: Authority) -> None:
    authority.sign("exporter")
    authority.sign("other")
    authority.sign("old", days=-1)
    (tmp_path / "empty").touch()
    for cert, key, message in (
        ("none.crt", "exporter.key", "none.crt: No such file"),
        ("exporter.crt", "none.key", "none.key: No such file"),
        ("exporter.crt", "other.key", "are not a certificate and its key"),
        ("empty", "exporter.key", "are not a certificate and its key"),
        ("old.crt", "old.key", "certificate has expired; renew it"),
    ):
        config = load_web_config(write(tmp_path, f"tls_server_config: {{cert_file: {cert}, key_file: {key}}}"))
        assert config.tls_server_config is not None
        with pytest.raises(ConfigError) as error:
            create_ssl_context(config.tls_server_config)
        assert message in str(error.value)
        assert "\n" not in str(error.value)


def test_versions_ciphers_and_curve_hold(tmp_path: Path, authority: Authority) -> None:
    authority.sign("exporter")
    more = ", max_version: TLS12, cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384],"
    more += " curve_preferences: [CurveP384]}"
    with exporter(tmp_path, TLS.replace("}\n", more)) as url:
        context = ssl.create_default_context(cafile=str(authority.file))
        host, port = url.removeprefix("https://").split(":")
        with socket.create_connection((host, int(port)), 10) as plain:
            with context.wrap_socket(plain, server_hostname=host) as secure:
                assert secure.version() == "TLSv1.2"
                assert (secure.cipher() or ("",))[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"


def test_prometheus_scrapes_over_tls_with_a_client_certificate_and_a_password(
    tmp_path: Path, authority: Authority
) -> None:
    program = prometheus()
    small_run(tmp_path / "results", "r")
    authority.sign("exporter")
    authority.sign("prometheus")
    with exporter(tmp_path, f"{MUTUAL}basic_auth_users: {{prometheus: '{HASH}'}}") as url:
        address = f"127.0.0.1:{free_port()}"
        scrape = {
            "job_name": "evalgauge",
            "scheme": "https",
            "basic_auth": {"username": "prometheus", "password": PASSWORD},
            "tls_config": {
                "ca_file": str(authority.file),
                "cert_file": str(tmp_path / "prometheus.crt"),
                "key_file": str(tmp_path / "prometheus.key"),
            },
            "static_configs": [{"targets": [url.removeprefix("https://")]}],
        }
        config = tmp_path / "prometheus.yml"
        config.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [scrape]}))
        command = [str(program), f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}"]
        process = subprocess.Popen(
            [*command, f"--web.listen-address={address}", "--log.level=error"], stderr=subprocess.DEVNULL
        )
        try:

            def scraped() -> bool:
                with contextlib.suppress(OSError, ValueError):  # it is starting
                    _, body = get(f"http://{address}/api/v1/query?query=agent_eval_run_info")
                    return any(row["metric"]["run_id"] == "r" for row in json.loads(body)["data"]["result"])
                return False

            wait_for(scraped, timeout=60)
        finally:
            process.terminate()
            process.wait()


def test_sessions_end_with_log_out_and_with_another_token(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "token").write_text("a-token-of-many-characters")
    made = exporter_of(tmp_path / "results", token_file=tmp_path / "token")
    with serving(made) as url, httpx.Client(base_url=url, timeout=60) as web:
        signed_in = web.post("/login", data={"token": "a-token-of-many-characters"})
        assert signed_in.status_code == 303
        session = web.cookies["evalgauge_session"]
        assert "a-token-of-many-characters" not in str(signed_in.headers)
        assert web.get("/api/benchmark/status").status_code == 200
        assert web.get("/logout").status_code == 405, "a link must not log anyone out"
        assert web.get("/api/benchmark/status").status_code == 200
        assert web.post("/logout").headers["location"] == "./login"
        assert "evalgauge_session" not in web.cookies
        copied = {"cookie": f"evalgauge_session={session}"}
        assert httpx.get(f"{url}/api/benchmark/status", headers=copied, timeout=60).status_code == 401, (
            "copies end with it"
        )
        web.post("/login", data={"token": "a-token-of-many-characters"})
        other = web.cookies["evalgauge_session"]
    (tmp_path / "token").write_text("another-token-of-many-characters")
    made = exporter_of(tmp_path / "results", token_file=tmp_path / "token")
    with serving(made) as url:
        headers = {"cookie": f"evalgauge_session={other}"}
        assert httpx.get(f"{url}/api/benchmark/status", headers=headers, timeout=60).status_code == 401


def test_a_password_is_checked_once_and_a_wrong_one_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []
    check = bcrypt.checkpw

    def count(password: bytes, hashed: bytes) -> bool:
        asked.append(password)
        return check(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", count)
    users = Users({"ada": HASH})
    for password, times in ((PASSWORD, 1), ("wrong", 3)):
        asked.clear()
        encoded = base64.b64encode(f"ada:{password}".encode()).decode()
        assert [users.is_valid(encoded) for _ in range(3)] == [password == PASSWORD] * 3
        assert len(asked) == times
