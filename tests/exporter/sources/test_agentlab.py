"""Studies of AgentLab. The data are real episodes of MiniWoB++ that BrowserGym 0.14.3 ran in Chromium with a scripted
agent; AgentLab keeps its experiments in the same files. The pickles were taken out."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path

from evalgauge.events import Step
from evalgauge_exporter.sources import agentlab
from evalgauge_exporter.sources.agentlab import AgentLabSource, parse_browser_action, parse_episode
from evalgauge_exporter.state.run import fold
from tests.exporter.sources.reading import DATA, NOW, STALL, drain, folded, outcomes, snapshot, write

STUDY = next((DATA / "browsergym-0.14.3").iterdir())


def names(folder: Path) -> frozenset[str]:
    return frozenset(each.name for each in folder.iterdir())


def test_totals_are_those_of_the_summaries() -> None:
    summaries = [json.loads(path.read_text()) for path in sorted(STUDY.glob("*/summary_info.json"))]
    run = folded(AgentLabSource(STUDY))
    counted = outcomes(run)
    assert sum(counted.values()) == len(summaries) == 7
    assert counted["success"] == sum(summary["cum_reward"] >= 1 for summary in summaries)
    assert counted["infrastructure_error"] == sum(summary["err_msg"] is not None for summary in summaries)
    assert sum(a.steps or 0 for a in run.attempts.values()) == sum(summary["n_steps"] for summary in summaries)
    assert run.usage["openai", "gpt-4o-mini"].tokens == [
        sum(summary.get("stats.cum_input_tokens", 0) for summary in summaries),
        0,
        0,
        sum(summary.get("stats.cum_output_tokens", 0) for summary in summaries),
    ]
    assert (run.benchmark, run.model, run.agent) == ("miniwob", "gpt-4o-mini", "GenericAgent")
    assert run.status(NOW, STALL) == "completed"


def test_the_log_gives_times_thoughts_and_actions_and_the_pictures_are_there() -> None:
    events, _ = drain(AgentLabSource(STUDY))
    steps = [event for event in events if isinstance(event, Step)]
    clicks = [step for step in steps if step.action["type"] == "click"]
    assert clicks
    assert all(step.reasoning == "I click" and step.action["bid"].isdecimal() for step in clicks)
    assert all(step.screenshot is not None and (STUDY / step.screenshot).is_file() for step in steps)
    run = fold("run", "agentlab", events)
    durations = [a.duration_seconds for a in run.attempts.values()]
    assert all(seconds is not None and 0.5 < seconds < 60 for seconds in durations)


def test_a_running_study_gives_the_same_state_as_a_fresh_read(tmp_path: Path) -> None:
    study = tmp_path / STUDY.name
    folders = sorted(STUDY.iterdir())
    for folder in folders:
        write(study / folder.name / "exp_args.pkl", b"not read")
    assert agentlab.discover_runs(study, names(study)) == [study]
    source = AgentLabSource(study)
    events, _ = drain(source)
    assert events == []
    for folder in folders:
        log = (folder / "experiment.log").read_text()
        first = log.index("\n2026") + 1 if "action:" in log else len(log)
        write(study / folder.name / "experiment.log", log[: first - 3])
        events += drain(source)[0]
        write(study / folder.name / "experiment.log", log)
        for picture in folder.glob("*.png"):
            shutil.copy(picture, study / folder.name)
        events += drain(source)[0]
        shutil.copy(folder / "summary_info.json", study / folder.name)
        events += drain(source)[0]
    assert snapshot(fold("run", "agentlab", events)) == snapshot(folded(AgentLabSource(study)))
    assert source.watch_paths() == []
    assert not any(path.suffix == ".gz" for path in source.watch_paths())


def test_several_agents_in_one_study_are_a_run_for_each(tmp_path: Path) -> None:
    for agent, reward in (("A-x", 1.0), ("B-y", 0.0)):
        for seed in (1, 2):
            folder = tmp_path / f"2026-01-01_10-00-00_{agent}_on_miniwob.click-test_{seed}"
            write(folder / "summary_info.json", json.dumps({"n_steps": 0, "cum_reward": reward, "err_msg": None}))
    places = agentlab.discover_runs(tmp_path, names(tmp_path))
    assert [place.name for place in places] == ["A-x", "B-y"]
    assert [outcomes(folded(AgentLabSource(place))) for place in places] == [{"success": 2}, {"failure": 2}]


def test_outcomes_by_error_and_reward(tmp_path: Path) -> None:
    uncaught = "Exception uncaught by agent or environment in task x.\nKeyboardInterrupt:\nEarly termination??"
    for index, summary in enumerate(
        [
            {"cum_reward": 0, "err_msg": uncaught},
            {"cum_reward": 0, "err_msg": "the model gave no answer"},
            {"cum_reward": 1.0, "err_msg": "the model gave no answer at first"},
            {"err_msg": None},
        ]
    ):
        write(tmp_path / f"2026-01-01_10-00-00_A_on_b.c_{index}" / "summary_info.json", json.dumps(summary))
    statuses = [attempt.status for attempt in folded(AgentLabSource(tmp_path)).attempts.values()]
    assert statuses == ["interrupted", "agent_error", "success", "evaluation_error"]


def test_without_a_log_the_times_are_in_the_folders_name_and_the_summary(tmp_path: Path) -> None:
    summary = {"n_steps": 4, "cum_reward": 1.0, "stats.cum_step_elapsed": 8.5, "stats.cum_agent_elapsed": 7.5}
    write(tmp_path / "2026-01-01_10-00-00_A_on_b.c_1" / "summary_info.json", json.dumps(summary), 1.8e9)
    run = folded(AgentLabSource(tmp_path))
    assert run.started_at == datetime(2026, 1, 1, 10).timestamp()
    assert run.attempts["b.c_1", 1].duration_seconds == 16.0
    assert run.ended_at == run.started_at + 16.0


def test_studies_before_september_2024_have_other_names_for_folders_and_tokens(tmp_path: Path) -> None:
    folder = tmp_path / "2024-08-01_10-20-52_GenericAgent_on_miniwob.ascending-numbers_64_e6d2d5"
    tokens = {"stats.cum_openai_prompt_tokens": 16260, "stats.cum_openai_completion_tokens": 762}
    summary = {"n_steps": 10, "cum_reward": 0.0, "err_msg": "a very bad error", **tokens}
    write(folder / "summary_info.json", json.dumps(summary))
    (tmp_path / "2024-08-01_10-20-52_GenericAgent_on_miniwob.ascending-numbers_68_b6312d").mkdir()
    assert agentlab.discover_runs(tmp_path, names(tmp_path)) == [tmp_path]
    run = folded(AgentLabSource(tmp_path))
    assert (run.total, run.attempts["miniwob.ascending-numbers_64", 1].status) == (2, "agent_error")
    assert [usage.tokens for usage in run.usage.values()] == [[16260, 0, 0, 762]]


def test_what_a_folders_name_says() -> None:
    found = parse_episode("2026-11-21_22-15-33_GenericAgent-gpt-4o_on_workarena.servicenow.sort-list_42_1")
    assert found is not None
    assert (found.agent, found.task_id, found.domain) == (
        "GenericAgent-gpt-4o",
        "workarena.servicenow.sort-list_42",
        "servicenow",
    )
    assert parse_episode("_2026-11-21_22-15-33_A_on_b_1") is None
    assert parse_episode("screenshots") is None


def test_browser_actions() -> None:
    assert parse_browser_action("fill('12', 'a \"b\"')") == {
        "type": "fill",
        "bid": "12",
        "text": 'a "b"',
        "code": "fill('12', 'a \"b\"')",
    }
    assert parse_browser_action("press('7', 'Enter')")["key"] == "Enter"
    assert parse_browser_action("send_msg_to_user('done')")["text"] == "done"
    assert parse_browser_action("noop()")["type"] == "noop"
    assert parse_browser_action("for i in range(3): pass")["type"] == "code"


def test_other_folders_are_no_studies(tmp_path: Path) -> None:
    (tmp_path / "2026-11-21_22-15-33_A_on_b_1").mkdir()
    assert agentlab.discover_runs(tmp_path, names(tmp_path)) == []


def test_the_model_of_an_agent_is_without_its_provider(tmp_path: Path) -> None:
    for number, (agent, model) in enumerate(
        (
            ("GenericAgent-anthropic_claude-x", "claude-x"),
            ("GenericAgent-meta-llama_Llama-3", "Llama-3"),
            ("a-my_x", "my_x"),
        )
    ):
        study = tmp_path / str(number)
        write(
            study / f"2026-01-05_10-00-00_{agent}_on_webarena.310_0" / "summary_info.json", json.dumps({"n_steps": 1})
        )
        assert folded(AgentLabSource(study)).model == model


def test_notes_behind_a_folders_name_do_not_count_and_copies_are_none(tmp_path: Path) -> None:
    name = "2025-01-02_10-55-04_DemoAgentArgs_on_workarena.servicenow.order-ipad_3"
    for end in ("", " Apple.com", " copy", " (1)", "9"):
        write(tmp_path / f"{name}{end}" / "summary_info.json", json.dumps({"n_steps": 1, "cum_reward": 1.0}))
    run = folded(AgentLabSource(tmp_path))
    assert sorted(run.attempts) == [
        ("workarena.servicenow.order-ipad_3", 1),
        ("workarena.servicenow.order-ipad_3", 2),
        ("workarena.servicenow.order-ipad_39", 1),
    ]
