"""The JSON API: DESIGN's shapes, nothing made up, errors that help, and no 5xx whatever is asked."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings

from evalgauge import track_run
from evalgauge_exporter.exporter import Exporter
from evalgauge_exporter.web.app import create_app
from evalgauge_exporter.web.server import serving
from tests.exporter.runs import exporter_of, small_run
from tests.exporter.waiting import wait_for


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Exporter]:
    small_run(tmp_path, "before", outcomes="ssssffssss" * 2)
    small_run(tmp_path, "after", outcomes="sfsfffifaf" * 2)
    exporter = exporter_of(tmp_path)
    exporter.start()
    assert exporter.wait_ready(60)
    yield exporter
    exporter.stop()


@pytest.fixture
def client(exporter: Exporter) -> Iterator[TestClient]:
    with TestClient(create_app(exporter), base_url="http://127.0.0.1") as client:
        yield client


def get(client: TestClient, path: str) -> Any:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


SHAPES = {
    "/api/benchmark/status": {"current_job", "queue"},
    "/api/benchmark/costs": {
        "azure_vm",
        "api_calls",
        "gpu_time",
        "total_cost_usd",
        "unpriced_calls",
        "unknown_usage_calls",
    },
    "/api/benchmark/metrics": {
        "success_rate_over_time",
        "avg_steps_per_task",
        "domain_breakdown",
        "episode_success_metrics",
    },
    "/api/benchmark/workers": {"total_workers", "active_workers", "idle_workers", "workers"},
    "/api/benchmark/runs": {"runs"},
    "/api/benchmark/compare?runs=before,after": {"comparison"},
    "/api/benchmark/frame": {"current_job", "queue", "costs", "metrics", "workers", "domain_breakdown"},
    "/api/benchmark-live": {"status", "total_tasks", "tasks_completed", "current_task"},
    "/api/benchmark-progress": {"status", "provider", "tasks_total", "tasks_complete", "message"},
}


@pytest.mark.parametrize("path", SHAPES)
def test_an_answer_has_the_keys_of_the_design(client: TestClient, path: str) -> None:
    assert SHAPES[path] <= set(get(client, path))


@pytest.mark.parametrize("path", SHAPES)
def test_an_empty_results_folder_is_answered_with_nulls_and_not_with_zeros(tmp_path: Path, path: str) -> None:
    (tmp_path / "empty").mkdir()
    exporter = exporter_of(tmp_path / "empty")
    exporter.start()
    assert exporter.wait_ready(60)
    with TestClient(create_app(exporter), base_url="http://127.0.0.1") as client:
        if "compare" in path:
            assert client.get(path).status_code == 404
        else:
            body = get(client, path)
            assert body.get("current_job") is None
            assert body.get("total_cost_usd") is None
    exporter.stop()


def test_status_of_a_finished_run(client: TestClient) -> None:
    job = get(client, "/api/benchmark/status?run_id=after")["current_job"]
    assert (job["run_id"], job["model_id"], job["status"]) == ("after", "claude-sonnet-4-5", "completed")
    assert (job["total_tasks"], job["completed_tasks"]) == (20, 20)
    assert job["current_task"] is None
    assert job["eta_seconds"] is None
    assert "completed" in job["eta_reason"]


def test_status_of_a_running_run(client: TestClient, exporter: Exporter, tmp_path: Path) -> None:
    with track_run(tmp_path, benchmark="waa", model="m", run_id="now", tasks=["a", "b", "c"]) as run:
        with run.task("a", instruction="open it", worker="vm-1", max_steps=15) as task:
            task.step(action="click")
            wait_for(lambda: exporter.state.runs["now"].steps if "now" in exporter.state.runs else None)
            body = get(client, "/api/benchmark/status")
            assert body["current_job"]["run_id"] == "now", "the newest running run is selected by default"
            assert body["current_job"]["current_task"] == {
                "task_id": "a",
                "instruction": "open it",
                "step": 1,
                "total_steps_estimate": 15,
            }
            assert [row["task_id"] for row in body["queue"]] == ["b", "c"]
            live = get(client, "/api/benchmark-live")
            assert live["status"] == "running"
            assert [step["action"]["type"] for step in live["current_task"]["steps"]] == ["click"]
            worker = get(client, "/api/benchmark/workers")["workers"][0]
            assert (worker["worker_id"], worker["status"], worker["current_task"]) == ("vm-1", "busy", "a")
            task.finish(success=True)


def test_costs_are_priced_by_the_table_and_say_by_which(client: TestClient) -> None:
    body = get(client, "/api/benchmark/costs?run_id=before")
    calls = body["api_calls"]["anthropic"]
    expected = 20 * (1000 * 3 + 100 * 15) / 1e6
    assert calls["cost_usd"] == pytest.approx(expected)
    assert body["total_cost_usd"] == pytest.approx(expected)
    assert (calls["input_tokens"], calls["output_tokens"]) == (20_000, 2_000)
    assert calls["models"][0]["priced_by"][0].startswith("genai-prices")
    assert body["cost_per_success_usd"] == pytest.approx(expected / 16)
    assert body["azure_vm"]["cost_usd"] is None
    assert body["by_component"] == {"llm": pytest.approx(expected), "vm": None, "gpu": None}


def test_reasons_and_both_costs_are_shown_where_a_stated_cost_differs(
    client: TestClient, exporter: Exporter, tmp_path: Path
) -> None:
    call: dict[str, Any] = {"provider": "anthropic", "model": "claude-sonnet-4-5", "output_tokens": 0}
    with track_run(tmp_path, benchmark="waa", model="m", run_id="stated") as run:
        run.llm_call(**call, input_tokens=100_000, cost_usd=0.5)
        run.llm_call(**call, input_tokens=100_000, region="us")
        run.llm_call(provider="openai", model="gpt-5.1", input_tokens=100_000, output_tokens=0, cost_usd=0.126)
    wait_for(lambda: "stated" in exporter.state.runs and exporter.state.runs["stated"].is_finished())
    calls = get(client, "/api/benchmark/costs?run_id=stated")["api_calls"]
    (sonnet,), (gpt,) = calls["anthropic"]["models"], calls["openai"]["models"]
    assert (sonnet["cost_usd"], sonnet["stated_cost_usd"], sonnet["compared_cost_usd"]) == (0.3, 0.5, 0.3)
    assert sonnet["unpriced_reasons"] == {"no price for region us": 1}
    assert (gpt["cost_usd"], gpt["stated_cost_usd"]) == (0.125, None), "within 5 % of the own price"


def test_metrics_of_a_run(client: TestClient) -> None:
    body = get(client, "/api/benchmark/metrics?run_id=after")
    assert body["success_rate"] == pytest.approx(4 / 18)
    assert body["success_rate_all"] == pytest.approx(4 / 20)
    assert body["success_rate_low"] < body["success_rate"] < body["success_rate_high"]
    assert len(body["success_rate_over_time"]) == 18
    assert body["success_rate_over_time"][-1] == {"task_idx": 17, "success_rate": pytest.approx(4 / 18)}
    assert sum(domain["total"] for domain in body["domain_breakdown"].values()) == 20
    episode = body["episode_success_metrics"]
    assert episode["episode_success_rate"] == body["success_rate"]
    assert episode["first_action_accuracy"] == pytest.approx(4 / 20)
    assert (episode["avg_steps_to_success"], episode["avg_steps_to_failure"]) == (1, 1)


def test_what_was_not_measured_is_null(client: TestClient, exporter: Exporter, tmp_path: Path) -> None:
    run = track_run(tmp_path, benchmark="new", model="m", run_id="fresh", tasks=3)
    wait_for(lambda: "fresh" in exporter.state.runs)
    body = get(client, "/api/benchmark/metrics?run_id=fresh")
    assert body["success_rate"] is None
    assert body["avg_steps"] is None
    assert all(number is None for number in body["episode_success_metrics"].values())
    costs = get(client, "/api/benchmark/costs?run_id=fresh")
    assert costs["total_cost_usd"] is None
    assert costs["azure_vm"] == {
        "instance_type": None,
        "hourly_rate_usd": None,
        "hours_elapsed": None,
        "cost_usd": None,
        "vms": [],
    }
    run.finish()


def test_the_comparison_is_on_b_against_the_baseline_a(client: TestClient) -> None:
    body = get(client, "/api/benchmark/compare?runs=before,after")["comparison"]
    assert (body["run_a"]["run_id"], body["run_b"]["run_id"]) == ("before", "after")
    found = body["significance"]
    assert found["paired_tasks"] == 18
    assert found["verdict"] == "worse"
    assert body["delta"]["success_rate"] > 0, "A minus B"
    assert found["ci_low"] <= body["delta"]["success_rate"] <= found["ci_high"]
    other = get(client, "/api/benchmark/compare?runs=after,before")["comparison"]
    assert other["significance"]["verdict"] == "better"
    assert other["delta"]["success_rate"] == pytest.approx(-body["delta"]["success_rate"])


def test_the_test_that_is_named_is_the_one_behind_the_p_value(
    client: TestClient, exporter: Exporter, tmp_path: Path
) -> None:
    over = get(client, "/api/benchmark/compare?runs=before,after")["comparison"]["significance"]
    assert over["test"] == "exact McNemar"
    run = small_run(tmp_path, "now", outcomes="sfsfffifaf" * 2, finish=False)
    wait_for(lambda: "now" in exporter.state.runs and len(exporter.state.runs["now"].finish_log) == 20)
    going = get(client, "/api/benchmark/compare?runs=before,now")["comparison"]["significance"]
    assert "anytime-valid" in going["test"]
    assert going["p_value"] == going["anytime_p_value"]
    assert going["paired_tasks"] == over["paired_tasks"]
    run.finish()


def test_recent_runs_are_compared_with_the_one_before(client: TestClient) -> None:
    rows = {row["run_id"]: row for row in get(client, "/api/benchmark/frame")["runs"]}
    assert rows["before"]["comparison"] is None
    assert rows["after"]["comparison"]["baseline_run_id"] == "before"
    assert rows["after"]["comparison"]["delta"] < 0
    assert rows["after"]["comparison"]["verdict"] == "worse"


def test_an_unknown_run_is_answered_with_similar_ids(client: TestClient) -> None:
    for path in ("/api/benchmark/status", "/api/benchmark-sse", "/api/benchmark/frame", "/api/benchmark-live"):
        answer = client.get(f"{path}?run_id=befor")
        assert answer.status_code == 404
        assert "'befor'" in answer.json()["error"]
        assert "before" in answer.json()["error"]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/api/benchmark-sse?interval=0.1", "0.2 to 60"),
        ("/api/benchmark-sse?interval=soon", "0.2 to 60"),
        ("/api/benchmark/compare", "A,B"),
        ("/api/benchmark/compare?runs=before", "A,B"),
    ],
)
def test_an_invalid_parameter_is_answered_with_what_is_allowed(client: TestClient, path: str, says: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 422
    assert says in answer.json()["error"]


def test_an_unknown_path_is_answered_with_similar_ones(client: TestClient) -> None:
    answer = client.get("/api/benchmark/statu")
    assert answer.status_code == 404
    assert answer.json()["error"].startswith("there is no '/api/benchmark/statu'; did you mean /api/benchmark/status")
    assert client.get("/x").json() == {"error": "there is no '/x'; /docs lists all paths"}
    assert len(client.get("/" + "x" * 5000).json()["error"]) < 400


def test_a_method_that_is_not_allowed_is_answered_with_those_that_are(client: TestClient) -> None:
    answer = client.post("/api/benchmark/status")
    assert answer.status_code == 405
    assert answer.json() == {"error": "/api/benchmark/status does not allow POST, only GET"}


def test_a_path_without_get_names_its_method(tmp_path: Path) -> None:
    exporter = exporter_of(tmp_path, receive=tmp_path / "received")
    with TestClient(create_app(exporter), base_url="http://127.0.0.1") as client:
        answer = client.get("/v1/logs")
    assert answer.status_code == 405
    assert answer.json() == {"error": "/v1/logs does not allow GET, only POST"}


@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/docs", "/live/main.js", "/api/benchmark/status"])
def test_head_gives_the_headers_of_get_and_nothing_else(client: TestClient, path: str) -> None:
    whole, head = client.get(path), client.head(path)
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-type"] == whole.headers["content-type"]
    assert int(head.headers["content-length"]) > 0


def test_head_of_what_is_not_there_is_not_there(client: TestClient) -> None:
    assert client.head("/api/benchmark/status?run_id=nope").status_code == 404


def test_a_frame_of_a_huge_run_stays_under_200_kilobytes(tmp_path: Path) -> None:
    with track_run(tmp_path, benchmark="waa", model="m", run_id="huge", tasks=10_000, fsync="never") as run:
        for number in range(10_000):
            with run.task(f"a-rather-long-task-id-{number:05d}", domain=f"domain-{number % 12}") as task:
                task.finish(success=number % 3 == 0)
        for number in range(100):
            run.task(f"open-{number}", instruction="x" * 100, worker=f"vm-{number:03d}")
        exporter = exporter_of(tmp_path)
        exporter.start()
        assert exporter.wait_ready(60)
        with TestClient(create_app(exporter), base_url="http://127.0.0.1") as client:
            assert len(client.get("/api/benchmark/frame").content) < 200_000
        exporter.stop()


def test_every_page_comes_with_a_strict_policy(client: TestClient) -> None:
    for path in ("/", "/docs", "/api/benchmark/status", "/healthz"):
        policy = client.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_the_reference_lists_every_path(client: TestClient) -> None:
    page = client.get("/docs").text
    for path in client.get("/openapi.json").json()["paths"]:
        assert f"GET {path}" in page
    assert "<script" not in page
    assert "waa_probe_status" in page, "a list's keys"
    assert "remote_endpoint" in page, "a map's keys"
    for link in re.findall(r'href="(live/[^"]+)"', page):
        assert client.get(f"/{link}").status_code == 200, link


def test_no_request_makes_a_server_error(tmp_path: Path) -> None:
    """Fuzzed from the API's own document; the answers also have to be what that document says."""
    small_run(tmp_path, "r", outcomes="sfa")
    with serving(exporter_of(tmp_path)) as url:
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json").exclude(
            path=["/api/benchmark-sse", "/api/benchmark-wall-sse"]  # never end; their parameters are tried by hand
        )
        assert _fuzz(schema) >= 10


def _fuzz(schema: Any) -> int:
    """How many operations were tried."""
    tried = 0
    for operation in schema.get_all_operations():
        tried += 1

        @settings(max_examples=25, suppress_health_check=list(HealthCheck))
        @given(case=operation.ok().as_strategy())
        def ask(case: Any) -> None:
            answer = case.call()
            assert answer.status_code < 500
            if answer.status_code == 200:
                case.validate_response(answer)

        ask()
    return tried


def test_the_time_of_a_frame_is_now(client: TestClient) -> None:
    assert abs(get(client, "/api/benchmark/frame")["generated_at"] - time.time()) < 60
