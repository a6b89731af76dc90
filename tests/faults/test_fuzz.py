"""Logs, names, addresses and requests of any content: no answer is a 500, nothing raises, the good run stays."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from google.protobuf.json_format import ParseDict  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from evalgauge.runlog import LogReader
from evalgauge_exporter.sources.discovery import Discovery, name_runs
from evalgauge_exporter.state.run import fold
from evalgauge_exporter.web.app import create_app
from evalgauge_exporter.web.otlp_logs import JSON, PROTOBUF
from tests.exporter.runs import small_run
from tests.exporter.sources.test_damaged import FORMATS
from tests.faults.fuzzing import FAULTS, VALUES, Fault, check, fuzzed, mutated, serve

CORPUS = Path(__file__).parent / "corpus"


@fuzzed(1000)
@given(faults=FAULTS)
def test_a_log_of_any_lines_is_folded(tmp_path_factory: pytest.TempPathFactory, faults: list[Fault]) -> None:
    folder = tmp_path_factory.mktemp("log")
    run = small_run(folder, "r", outcomes="sfai")
    (log,) = (run.folder / "events").glob("*.jsonl")
    log.write_bytes(mutated(log.read_bytes(), faults))
    events, _, _ = LogReader(log).read()
    state = fold("r", "runlog", events)
    assert sum(state.statuses(2e9, 600).values()) == state.total
    shutil.rmtree(folder)


@fuzzed(30)
@given(parts=st.lists(st.binary(min_size=1, max_size=40).filter(lambda name: b"/" not in name and b"\0" not in name)))
def test_folders_of_any_name_are_runs(tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]) -> None:
    results = tmp_path_factory.mktemp("names")
    small_run(results, "good")
    for number, part in enumerate(parts[:4]):
        folder = os.fsencode(results) + b"/" + part
        if part in (b".", b".."):
            continue
        try:
            os.makedirs(folder + b"/events", exist_ok=True)
        except OSError:
            continue
        with open(folder + b"/events/w.jsonl", "wb") as file:
            file.write(b'{"v":1,"seq":0,"ts":%d,"type":"heartbeat"}\n' % (1_700_000_000 + number))
    exporter = serve(results)
    check(exporter, [run_id.encode("utf-8", "replace").decode() for run_id in exporter.state.runs])
    exporter.stop()
    shutil.rmtree(results)


@fuzzed(400)
@given(path=st.text(max_size=300), query=st.dictionaries(st.sampled_from(["run_id", "task_id", "limit"]), st.text()))
def test_an_address_of_any_text_is_no_fault_of_the_server(served: TestClient, path: str, query: dict[str, str]) -> None:
    for address in (f"/{path}", f"/replay/{path}", f"/api/benchmark/{path}", "/api/benchmark/tasks"):
        try:
            answer = served.get(address, params=query, follow_redirects=False)
        except (ValueError, UnicodeError):  # no address at all, says the client
            continue
        except Exception as error:
            if type(error).__module__.startswith("httpx"):
                continue
            raise
        assert answer.status_code < 500, address


ARGUMENTS = st.text(max_size=40) | st.sampled_from(
    ["good", "t0", "1", "-1", "99999999999999999999", "1e999", "../..", "\0"]
)


@fuzzed(150)
@given(data=st.data())
def test_an_address_of_the_api_with_any_arguments_is_no_fault_of_the_server(
    served: TestClient, data: st.DataObject
) -> None:
    paths = served.get("/openapi.json").json()["paths"]
    endless = {path for path in paths if "text/event-stream" in json.dumps(paths[path])}
    for address in sorted(path for path in paths.keys() - endless if path.startswith("/api/")):
        arguments: dict[str, str] = {}
        for parameter in paths[address].get("get", {}).get("parameters", []):
            value = data.draw(ARGUMENTS, label=f"{address} {parameter['name']}")
            if parameter["in"] == "path":
                address = address.replace(f"{{{parameter['name']}}}", quote(value, safe=""))
            elif parameter["in"] == "query":
                arguments[parameter["name"]] = value
        assert served.get(address, params=arguments).status_code < 500, (address, arguments)


NAMES = st.sampled_from(["r", "s", "..", "a/b", "", "x" * 200, "\0", "\ud800", "CON", ".hidden", "é"]) | st.text(
    max_size=8
)
LINES = st.sampled_from(
    [*VALUES, "", "{", '{"seq":0,"type":"step"}', '{"seq":1,"type":"run_finished","ts":"x"}']
) | st.builds(
    lambda seq, kind, key, value: f'{{"v":1,"seq":{seq},"ts":1.0,"type":{json.dumps(kind)},{json.dumps(key)}:{value}}}',
    st.integers(-1, 5) | st.integers(),
    st.sampled_from(["run_started", "task_started", "step", "task_finished", "llm_call", "heartbeat", "x"]),
    st.sampled_from(["tasks", "task_id", "worker_id", "action", "outcome", "ts", "seq", "v", "screenshot", "usage"]),
    st.sampled_from(VALUES),
)


def request_of(records: Sequence[tuple[str, ...]]) -> dict[str, Any]:
    """An export request with records of (run id, writer, line)."""
    return {"resourceLogs": [{"scopeLogs": [{"logRecords": [
        {"body": {"stringValue": line}, "attributes": [
            {"key": "evalgauge.run_id", "value": {"stringValue": run}},
            {"key": "evalgauge.writer", "value": {"stringValue": writer}}]}
        for run, writer, line in records]}]}]}  # fmt: skip


@fuzzed(1500)
@given(
    records=st.lists(st.tuples(NAMES.filter(lambda run: run != "good"), NAMES, LINES), max_size=6),
    faults=st.just([]) | FAULTS,
    protobuf=st.booleans(),
    zipped=st.booleans(),
    faults_outside=st.just([]) | FAULTS,
)
def test_a_request_to_store_any_logs_harms_nothing(
    served: TestClient,
    records: list[tuple[str, str, str]],
    faults: list[Fault],
    protobuf: bool,
    zipped: bool,
    faults_outside: list[Fault],
) -> None:
    if protobuf:
        texts = [tuple(text.encode("utf-8", "replace").decode() for text in record) for record in records]
        content: bytes = ParseDict(request_of(texts), ExportLogsServiceRequest()).SerializeToString()
    else:
        content = json.dumps(request_of(records)).encode()
    content = mutated(content, faults) if b"good" not in mutated(content, faults) else content
    body = mutated(gzip.compress(content) if zipped else content, faults_outside)
    headers = {"content-type": PROTOBUF if protobuf else JSON, "content-encoding": "gzip" if zipped else "identity"}
    answer = served.post("/v1/logs", content=body, headers=headers)
    assert answer.status_code in (200, 400, 413), answer.text[:500]
    for address in ("/metrics", "/api/benchmark/runs"):
        assert served.get(address).status_code == 200


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of an exporter that also receives; at the end the good run is as ever, and so are the answers."""
    folder = tmp_path_factory.mktemp("served")
    results, token = folder / "results", tmp_path_factory.mktemp("token") / "token"
    token.write_text("a-token-of-the-tests")
    small_run(results, "good")
    exporter = serve(results, receive=results, token_file=token)
    authorization = {"authorization": f"Bearer {token.read_text()}"}
    with TestClient(create_app(exporter), base_url="http://127.0.0.1", headers=authorization) as client:
        yield client
    assert exporter.wait_caught_up(60)
    assert list(folder.iterdir()) == [results], "nothing was stored outside"
    check(exporter, sorted(exporter.state.runs)[:30], authorization)
    exporter.stop()
    assert not any("defect" in health.errors for health in exporter.state.sources.values())


def test_the_corpus_of_nasty_files_harms_nothing(tmp_path: Path) -> None:
    small_run(tmp_path, "good")
    nasty = sorted(path for path in CORPUS.rglob("*") if path.is_file())
    assert len(nasty) > 10
    shutil.copytree(CORPUS, tmp_path / "nasty")
    for number, path in enumerate(nasty):  # and each as the log of a run
        folder = tmp_path / f"log{number}" / "events"
        folder.mkdir(parents=True)
        shutil.copy(path, folder / "w.jsonl")
    exporter = serve(tmp_path)
    check(exporter, list(exporter.state.runs))
    exporter.stop()
    assert not any("defect" in health.errors for health in exporter.state.sources.values())


@pytest.mark.parametrize("name", FORMATS)
def test_a_run_of_any_format_is_found_by_what_is_in_it(name: str, tmp_path: Path) -> None:
    make: Callable[[Path], Path] = FORMATS[name][0]
    make(tmp_path)
    found, problems = Discovery([tmp_path]).scan()
    assert problems == []
    assert name_runs(found)
    assert json.dumps([run.path_id for run in found])
