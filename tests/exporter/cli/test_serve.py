"""``evalgauge serve`` as a process: its check, its log, its signals."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.exporter.cli.invoking import complaint, evalgauge
from tests.exporter.runs import small_run
from tests.exporter.scraping import get
from tests.exporter.waiting import wait_for
from tests.exporter.web.certificates import Authority


class Served:
    """A serving process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stderr is not None
        self.lines: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self.url: str = wait_for(lambda: self._find_url() or "")

    def join(self) -> None:
        """Wait until all that the ended process wrote was read."""
        self._thread.join()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)

    def _find_url(self) -> str | None:
        found = [match[0] for line in list(self.lines) if (match := re.search(r"https?://[\d.:]+", line))]
        return found[0] if found else None

    def has(self, text: str) -> bool:
        return any(text in line for line in list(self.lines))


@contextlib.contextmanager
def served(*args: str | Path) -> Iterator[Served]:
    command = [sys.executable, "-m", "evalgauge_exporter", "serve", *map(str, args)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        here = Served(process)
        try:
            yield here
        finally:
            process.kill()
            process.wait()
            here.join()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    small_run(tmp_path / "results", "first")
    small_run(tmp_path / "more", "second")
    file = tmp_path / "evalgauge.toml"
    file.write_text('results = ["results"]\nlisten = "127.0.0.1:0"\n')
    return file


def test_a_valid_configuration_is_checked_and_nothing_is_served(config: Path) -> None:
    done = evalgauge("serve", "--config", config, "--check")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the configuration is valid; 1 results folders\n"
    done = evalgauge("serve", "--config", config, "--shard", "1/3", "--check")
    assert done.stdout == "the configuration is valid; 1 results folders, shard 1 of 3\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('stall_after = "soon"', "stall_after"),
        ('web_config_file = "web.yml"', "web.yml: No such file"),
        ('token_file = "token"', "token"),
        ('prices = {overrides = "none.toml"}', "none.toml"),
        ('receive = "in"', "--receive needs a token"),
        ('log_level = "loud"', "log_level"),
        ('shard = "3/3"', "shard: '3/3' is no shard; write it as K/N with K from 0 to N - 1"),
    ],
)
def test_a_check_finds_what_cannot_be_used(config: Path, line: str, message: str) -> None:
    config.write_text(f"{config.read_text()}{line}\n")
    assert message in complaint(evalgauge("serve", "--config", config, "--check"), 1)
    assert not (config.parent / "in").exists()


def test_a_check_finds_an_expired_certificate(config: Path, tmp_path: Path) -> None:
    Authority(tmp_path).sign("old", days=-1)
    (tmp_path / "web.yml").write_text("tls_server_config: {cert_file: old.crt, key_file: old.key}\n")
    said = complaint(evalgauge("serve", "--config", config, "--web-config-file", tmp_path / "web.yml", "--check"), 1)
    assert "old.crt: the certificate has expired" in said
    assert said.count("\n") == 1


def test_the_log_is_json_where_that_is_asked_for(config: Path) -> None:
    with served("--config", config, "--log-format", "json", "--log-level", "debug") as here:
        wait_for(lambda: here.has('"ready: '))
        rows = [json.loads(line) for line in list(here.lines) if line.startswith("{")]
    (ready,) = [row for row in rows if row["msg"].startswith("ready")]
    assert (ready["level"], ready["logger"], ready["msg"]) == ("info", "evalgauge.exporter", "ready: 1 run found")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", ready["ts"])


def test_with_log_level_error_a_start_logs_nothing(config: Path) -> None:
    with served("--config", config, "--log-level", "error") as here:
        wait_for(lambda: get(f"{here.url}/readyz")[0] == 200)
        assert len(here.lines) == 1


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_sighup_reloads_the_configuration_and_refuses_no_connection(config: Path) -> None:
    with served("--config", config) as here:
        wait_for(lambda: 'run_id="first"' in get(f"{here.url}/metrics")[1])
        stop, failures = threading.Event(), []

        def ask() -> None:
            while not stop.is_set():
                try:
                    with urllib.request.urlopen(f"{here.url}/healthz", timeout=60):
                        pass
                except ConnectionResetError:
                    pass  # a request that the old server had not read when it ended
                except OSError as error:
                    if not isinstance(getattr(error, "reason", None), ConnectionResetError):
                        failures.append(error)

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        try:
            config.write_text('results = ["results", "more"]\nlisten = "127.0.0.1:0"\n')
            here.process.send_signal(signal.SIGHUP)
            wait_for(lambda: 'run_id="second"' in get(f"{here.url}/metrics")[1])
        finally:
            stop.set()
            asking.join()
        assert failures == []
        assert here.process.poll() is None, "the same process"


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_a_configuration_that_cannot_be_used_is_not_reloaded(config: Path) -> None:
    with served("--config", config) as here:
        wait_for(lambda: get(f"{here.url}/readyz")[0] == 200)
        config.write_text('results = ["results"]\nstal_after = "1m"\n')
        here.process.send_signal(signal.SIGHUP)
        wait_for(lambda: here.has("the configuration is not reloaded"))
        assert 'run_id="first"' in get(f"{here.url}/metrics")[1]


def test_sigterm_lets_a_running_request_finish(config: Path) -> None:
    with served("--config", config) as here:
        wait_for(lambda: get(f"{here.url}/readyz")[0] == 200)
        host, port = here.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), 30) as stream:
            stream.sendall(f"GET /api/benchmark-sse HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert stream.recv(100).startswith(b"HTTP/1.1 200")
            here.process.send_signal(signal.SIGTERM)
            while stream.recv(65536):
                pass  # the stream ends in order
        assert here.process.wait(180) == 0
    assert not here.has("Traceback")
    assert os.environ.get("_EVALGAUGE_SOCKET") is None
