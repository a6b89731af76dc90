"""Two exporters that share the runs say together what one says: series for series, and in every query."""

from __future__ import annotations

import json
import math
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evalgauge_dashboards import alerts
from evalgauge_exporter.config.shard import Shard, parse_shard
from tests.dashboards.live_stack import LiveStack
from tests.dashboards.reading import fill_variables, load_dashboards, metrics_of, select_variables, targets
from tests.dashboards.test_recipes import HAIKU, RECIPES, SONNET, is_ready, run, write_run
from tests.exporter.runs import exporter_of
from tests.exporter.waiting import wait_for
from tests.parts import prometheus, promtool
from tests.ports import free_port

RUNNING = ("live-1", "live-2", "live-3", "live-4")
OF_EACH_EXPORTER = ("agent_eval_source_", "agent_eval_exporter_", "process_", "python_info")
"""What an exporter says of itself, and of what it could read: each says its own."""
COUNTED_BY_EACH = {"agent_eval_source_errors_total"}
"""Each reads all runs and counts the same errors, which queries count once."""
PROMETHEUS_OWN = {"up", "scrape_duration_seconds", "scrape_samples_scraped"}
SETTINGS = "".join(
    f'[[machine]]\nname = "vm-{worker}"\nprovider = "lambda"\ninstance_type = "gpu"\nhourly_rate_usd = {rate}\n'
    f'start = "2026-01-01T00:00:00Z"\n'
    for worker, rate in (("w1", 1.5), ("w2", 0.5), ("unused", 2.5))
)


class Shards:
    """One exporter of all runs, two that share them, and what each said at each instant."""

    def __init__(self, results: Path, settings: Path, now: float) -> None:
        self.now = now
        self.instants = [now - ago for ago in (120, 90, 60, 30, 0)]
        """When the exporters are scraped; something happens in each running run before each."""
        names = {"whole": None, "shard-0": "0/2", "shard-1": "1/2"}
        self.exporters = {name: exporter_of(results, config=settings, shard=shard) for name, shard in names.items()}
        self.said: dict[str, dict[float, str]] = {name: {} for name in names}
        for exporter in self.exporters.values():
            exporter.start()
            assert exporter.wait_ready(60)
            exporter.renewal.stop()  # so that estimates are made of each instant
        for number, instant in enumerate(self.instants):
            for run_id in RUNNING:
                append_task(results / run_id / "events" / "host-1.jsonl", number, instant)
            wait_for(lambda instant=instant: all(self._have_read(instant)))  # type: ignore[misc]
            for name, exporter in self.exporters.items():
                self.said[name][instant] = exporter.exposition.render(instant, openmetrics=True).decode()

    def _have_read(self, instant: float) -> list[bool]:
        return [
            run_id in exporter.state.runs and exporter.state.runs[run_id].last_event_at == instant
            for exporter in self.exporters.values()
            for run_id in RUNNING
        ]


def append_task(log: Path, number: int, instant: float) -> None:
    """A worker finishes a task and starts another one."""
    seq = len(log.read_bytes().splitlines())
    ids = {"task_id": f"t{20 + number}", "attempt": 1, "worker_id": "w1"}
    call = {"provider": "anthropic", "model": SONNET, "input_tokens": 500, "output_tokens": 70, "status": "ok"}
    lines: list[dict[str, Any]] = [
        {"type": "heartbeat", "ts": instant - 25, "worker_id": "w1", "lost_events": number},
        {"type": "task_started", "ts": instant - 20, **ids},
        {"type": "llm_call", "ts": instant - 15, **ids, **call, "duration_seconds": 2.0},
        {"type": "step", "ts": instant - 10, **ids, "step_idx": 0, "action": {"type": "click"}},
        {"type": "task_finished", "ts": instant - 1, **ids, "outcome": "success", "score": 1.0, "duration_seconds": 19},
        {"type": "task_started", "ts": instant, **ids, "task_id": f"t{21 + number}"},
    ]
    with log.open("a") as file:
        for offset, line in enumerate(lines):
            file.write(json.dumps({"v": 1, "seq": seq + offset} | line) + "\n")
        file.write('{"torn\n')


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shards")


@pytest.fixture(scope="module")
def shards(folder: Path) -> Iterator[Shards]:
    results, settings, now = folder / "results", folder / "evalgauge.toml", time.time() // 10 * 10
    write_run(results, "old", now - 9000, model=SONNET, solved=30)
    write_run(results, "cheap", now - 8000, model=HAIKU, solved=12, attempts=2, step=30.0)
    for number, run_id in enumerate(RUNNING):
        about: dict[str, Any] = {"baseline_run_id": "old"} if number % 2 else {"budget_usd": 0.01}
        write_run(results, run_id, now - 1330, model=SONNET, solved=6, done=20, finish=False, **about)
    settings.write_text(SETTINGS)
    made = Shards(results, settings, now)
    yield made
    for exporter in made.exporters.values():
        exporter.stop()


def samples(text: str) -> list[str]:
    """The samples that belong to a run or a machine."""
    return [line for line in text.splitlines() if not line.startswith(("#", *OF_EACH_EXPORTER))]


def test_the_runs_of_the_test_meet_in_both_shards(shards: Shards) -> None:
    owners = {run_id: Shard(0, 2).owns(run_id) for run_id in ("old", "cheap", *RUNNING)}
    assert set(owners.values()) == {owners[run_id] for run_id in RUNNING} == {True, False}
    assert {owners["old"]} < {owners[run_id] for run_id in RUNNING}, "the baseline of a run belongs to the other shard"


def test_each_series_is_in_one_shard_with_the_value_of_the_whole(shards: Shards) -> None:
    for instant in shards.instants:
        whole, first, second = (samples(said[instant]) for said in shards.said.values())
        assert len(whole) > 500
        assert len(first) > 100 < len(second)
        assert sorted(first + second) == sorted(whole)
        assert [line for line in second if "agent_eval_vm_" in line] == []
        assert [line for line in first if "agent_eval_vm_" in line]


def test_an_api_of_any_shard_knows_all_runs(shards: Shards) -> None:
    for exporter in shards.exporters.values():
        assert set(exporter.state.runs) == {"old", "cheap", *RUNNING}


def backfill(said: dict[str, dict[float, str]], instants: list[float]) -> str:
    """What was said as one document with times, as if it had been scraped."""
    families: dict[str, list[str]] = {"up": ["# TYPE up gauge"]}
    for instant in instants:
        for instance, texts in said.items():
            target = f'job="evalgauge",instance="{instance}"'
            families["up"].append(f"up{{{target}}} 1 {instant}")
            family: list[str] = []
            for line in texts[instant].splitlines():
                if line.startswith("#"):
                    if line != "# EOF":
                        family = families.setdefault(line.split(" ")[2], [])
                        family += [line] * (line not in family)
                    continue
                series, value = line.rsplit(" ", 1)
                labels = f"{series[:-1]},{target}}}" if series.endswith("}") else f"{series}{{{target}}}"
                family.append(f"{labels} {value} {instant}")
    return "\n".join(line for family in families.values() for line in family) + "\n# EOF\n"


@pytest.fixture(scope="module")
def stacks(shards: Shards, folder: Path) -> Iterator[tuple[LiveStack, LiveStack]]:
    """A Prometheus that scraped the one exporter, and one that scraped the two."""
    processes, urls = [], []
    (folder / "prometheus.yml").write_text("global: {}\n")
    for names in (["whole"], ["shard-0", "shard-1"]):
        here = folder / names[0]
        here.mkdir()
        (here / "history.om").write_text(backfill({name: shards.said[name] for name in names}, shards.instants))
        run(
            [str(promtool()), "tsdb", "create-blocks-from", "openmetrics", str(here / "history.om"), str(here / "data")]
        )
        address = f"127.0.0.1:{free_port()}"
        arguments = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={here / 'data'}"]
        arguments += [f"--web.listen-address={address}", "--log.level=error"]
        processes.append(subprocess.Popen([prometheus(), *arguments]))
        urls.append(f"http://{address}")
    try:
        for url in urls:
            wait_for(lambda url=url: is_ready(f"{url}/-/ready"))  # type: ignore[misc]
        yield LiveStack("", urls[0], shards.now, 10), LiveStack("", urls[1], shards.now, 10)
    finally:
        for process in processes:
            process.terminate()
            process.wait(60)


def ask(stack: LiveStack, expression: str, seconds: float) -> dict[str, list[float]]:
    """The result of a query: the values of each series by its labels."""
    found = {}
    for series in stack.query(expression, seconds=seconds):
        values = series["values"] if seconds else [series["value"]]
        found[json.dumps(series["metric"], sort_keys=True)] = [float(value) for _, value in values]
    return found


def same(one: dict[str, list[float]], other: dict[str, list[float]]) -> bool:
    """Whether two results are the same; sums may differ in their last digits, by the order in which they are added."""
    return one.keys() == other.keys() and all(
        len(one[key]) == len(other[key])
        and all(
            math.isclose(a, b, rel_tol=1e-9) or (math.isnan(a) and math.isnan(b))
            for a, b in zip(one[key], other[key], strict=True)
        )
        for key in one
    )


def is_of_runs(expression: str) -> bool:
    """Whether a query is about runs and machines, and not about the exporters and what Prometheus knows of them."""
    names = metrics_of(expression) - COUNTED_BY_EACH
    return not any(name in PROMETHEUS_OWN or name.startswith(OF_EACH_EXPORTER) for name in names)


def test_every_query_has_the_same_result(stacks: tuple[LiveStack, LiveStack]) -> None:
    whole, shared = stacks
    queries = [(f"recipe: {title}", text, 0.0) for title, text in RECIPES.items()]
    queries += [(f"alert: {alert.name}", str(alert.expression), 0.0) for alert in alerts.list_alerts()]
    for dashboard in load_dashboards():
        values = select_variables(whole.query, dashboard)
        assert select_variables(shared.query, dashboard) == values
        for of, panel, target in targets():
            if of["uid"] == dashboard["uid"]:
                name = f"{of['uid']} {panel['id']} {target['refId']}"
                queries.append((name, fill_variables(target["expr"], values), 0.0 if target.get("instant") else 120.0))
    different, answered = [], 0
    for name, expression, seconds in queries:
        if is_of_runs(expression):
            expected = ask(whole, expression, seconds)
            answered += bool(expected)
            if not same(expected, ask(shared, expression, seconds)):
                different.append(name)
    assert different == []
    assert answered > 100


@pytest.mark.parametrize("text", ["", "1", "2/2", "-1/2", "0/0", "a/b", "0/2/3", "½/2"])
def test_what_is_no_shard_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="write it as K/N with K from 0 to N - 1"):
        parse_shard(text)


def test_every_run_belongs_to_exactly_one_shard() -> None:
    for total in (1, 2, 3, 7):
        shards = [parse_shard(f"{index}/{total}") for index in range(total)]
        owners = [[shard.index for shard in shards if shard.owns(f"run-{number}")] for number in range(700)]
        assert all(len(found) == 1 for found in owners)
        assert min(sum(found == [index] for found in owners) for index in range(total)) > 500 / total
