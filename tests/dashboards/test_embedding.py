"""docs/embedding.md followed literally, in Chromium: a page on another port frames a panel, no other page does.

Grafana itself is a server that sends the headers which the override file makes it send.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pytest
import yaml
from playwright.sync_api import Browser

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "embedding.md").read_text(encoding="utf-8")
ENVIRONMENT = yaml.safe_load((ROOT / "compose.embed.yml").read_text())["services"]["grafana"]["environment"]


@contextmanager
def serve(body: str, headers: dict[str, str]) -> Iterator[tuple[int, list[str]]]:
    """A server that answers every path, its port, and the paths it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            for name, value in ({"content-type": "text/html"} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing: the test reads what was asked."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()


def grafana_headers(embed_from: str | None) -> dict[str, str]:
    """The headers of Grafana under the override file: its policy, and no X-Frame-Options where embedding is allowed."""
    template = ENVIRONMENT["GF_SECURITY_CONTENT_SECURITY_POLICY_TEMPLATE"]
    policy = re.sub(r"\$\{EMBED_FROM:-.*\}$", embed_from or "http://localhost:9909", template.strip())
    policy = policy.replace("$$NONCE", "'nonce-x'").replace("$$ROOT_PATH", "localhost:3000/")
    allowed = ENVIRONMENT["GF_SECURITY_ALLOW_EMBEDDING"] == "true"
    return {"content-security-policy": policy} | ({} if allowed else {"x-frame-options": "deny"})


@pytest.mark.parametrize("named", [True, False])
def test_a_page_on_another_port_frames_a_panel_once_it_is_named(named: bool, browser: Browser) -> None:
    (frame,) = re.findall(r"<iframe .*?</iframe>", GUIDE, re.DOTALL)
    assert "EMBED_FROM=http://localhost:8000 docker compose" in GUIDE
    page = browser.new_page()
    with serve("", {}) as (port, _):
        origin = f"http://127.0.0.1:{port}"
        with serve("<h1>a panel</h1>", grafana_headers(origin if named else None)) as (grafana, asked):
            page.goto(origin)
            page.set_content(frame.replace("http://localhost:3000", f"http://127.0.0.1:{grafana}"), wait_until="load")
            inner = page.frames[1]
            inner.wait_for_load_state("load")
            shown = inner.url.startswith(f"http://127.0.0.1:{grafana}/")
            assert shown is named
            if named:
                assert inner.locator("h1").text_content() == "a panel"
            path = urlparse(asked[0])
            assert path.path == "/d-solo/evalgauge-evaluation/evaluation"
            assert parse_qs(path.query)["panelId"] == ["14"]
    page.close()
