"""The simulated evaluation of ``evalgauge demo``: its course is plausible and repeatable, its screenshots images."""

from __future__ import annotations

import io
import itertools
import math
import statistics
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import binomtest, kstest, truncnorm

from evalgauge_exporter.demo.app import Canvas, text_width
from evalgauge_exporter.demo.domains import DOMAINS, WORDS
from evalgauge_exporter.demo.scenario import Scenario, plan
from evalgauge_exporter.demo.scene import HEIGHT, WIDTH, Scene
from evalgauge_exporter.demo.screens import APPS, click_points, draw

OUTCOMES = {"success", "failure", "agent_error", "infrastructure_error", "evaluation_error"}
MEASURED = ("success", "failure", "agent_error")


@pytest.fixture(scope="module")
def usual() -> Scenario:
    return plan()


def picture(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert("RGB")


# --- the course -------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(1, 20), st.integers(), st.floats(-1, 1))
def test_every_scenario_has_each_task_once_with_an_outcome(tasks: int, workers: int, seed: int, skill: float) -> None:
    scenario = plan(tasks, workers, seed, skill)
    assert len({task.task_id for task in scenario.tasks}) == len(scenario.tasks) == tasks
    assert len(set(scenario.workers)) == workers
    for task in scenario.tasks:
        assert task.domain in DOMAINS
        assert task.outcome in OUTCOMES
        assert "{" not in task.instruction
        assert 3 <= len(task.steps) <= task.max_steps == 15
        assert (task.error is not None) == task.outcome.endswith("_error")
        assert (task.score is not None) == (task.outcome in MEASURED)
        if task.outcome != "success" and task.score is not None:
            assert 0 <= task.score < 1


def test_the_same_arguments_give_the_same_run_and_another_seed_another() -> None:
    assert plan(60, 3, 11, 0.1) == plan(60, 3, 11, 0.1)
    assert plan(60, 3, 11, 0.1) != plan(60, 3, 12, 0.1)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"tasks": 0}, "tasks"), ({"tasks": 10_001}, "tasks"), ({"workers": 0}, "workers"), ({"skill": 1.5}, "skill")],
)
def test_an_argument_out_of_range_is_named_in_the_error(arguments: dict[str, int], named: str) -> None:
    with pytest.raises(ValueError, match=f"^{named} must be"):
        plan(**arguments)


def test_the_usual_run_has_154_tasks_in_11_domains(usual: Scenario) -> None:
    counts = Counter(task.domain for task in usual.tasks)
    assert counts == {name: domain.share for name, domain in DOMAINS.items()}
    assert (len(usual.tasks), len(counts), len(usual.workers)) == (154, 11, 4)
    assert len({task.domain for task in usual.tasks[:20]}) >= 6, "the domains come mixed"


@pytest.mark.parametrize("seed", range(25))
def test_every_outcome_appears_in_a_run_of_twenty(seed: int) -> None:
    assert {task.outcome for task in plan(20, seed=seed).tasks} == OUTCOMES


def test_about_45_per_cent_succeed_whatever_the_seed() -> None:
    shares = [sum(task.outcome == "success" for task in plan(seed=seed).tasks) / 154 for seed in range(12)]
    assert 0.43 <= statistics.mean(shares) <= 0.47
    assert min(shares) > 0.36
    assert max(shares) < 0.54


def test_each_domain_has_its_stated_success_rate() -> None:
    tasks = [task for task in plan(2500).tasks if task.outcome in ("success", "failure")]
    for name, domain in DOMAINS.items():
        own = [task.outcome == "success" for task in tasks if task.domain == name]
        assert binomtest(sum(own), len(own), domain.success).pvalue > 1e-4, name


def test_more_skill_adds_successes_and_loses_none_with_the_same_seed() -> None:
    plain, better = plan(1500), plan(1500, skill=0.1)
    assert [task.instruction for task in plain.tasks] == [task.instruction for task in better.tasks]
    pairs = Counter(
        (a.outcome == "success", b.outcome == "success") for a, b in zip(plain.tasks, better.tasks, strict=True)
    )
    assert pairs[True, False] == 0
    measured = sum(task.outcome in ("success", "failure") for task in plain.tasks)
    assert pairs[False, True] / measured == pytest.approx(0.1, abs=0.02)


def test_two_runs_of_equal_skill_disagree_both_ways_on_few_of_the_same_tasks() -> None:
    first, second = plan(1200, seed=1), plan(1200, seed=2)
    pairs = Counter(
        (a.outcome, b.outcome)
        for a, b in zip(first.tasks, second.tasks, strict=True)
        if {a.outcome, b.outcome} <= {"success", "failure"}
    )
    gained, lost = pairs["failure", "success"], pairs["success", "failure"]
    assert binomtest(gained, gained + lost).pvalue > 1e-3, "neither is better"
    assert 0.08 < (gained + lost) / pairs.total() < 0.2


def test_steps_take_10_to_40_seconds_and_are_lognormal_between(usual: Scenario) -> None:
    seconds = [(task.domain, step.think_seconds + step.env_seconds) for task in usual.tasks for step in task.steps]
    assert all(9.99 < taken < 40.01 for _, taken in seconds)
    ranks = []
    for domain, taken in seconds:
        low, high, here = (math.log(t / (18 * DOMAINS[domain].pace)) / 0.35 for t in (10, 40, taken))
        if low + 1e-3 < here < high - 1e-3:
            ranks.append(truncnorm.cdf(here, low, high))
    assert len(ranks) > 0.8 * len(seconds)
    assert kstest(ranks, "uniform").pvalue > 1e-3
    assert all(step.think_seconds > 3 and step.env_seconds > 3 for task in usual.tasks for step in task.steps)


def test_failures_take_more_steps_than_successes() -> None:
    steps: dict[str, list[int]] = {"success": [], "failure": []}
    for task in plan(1000).tasks:
        if task.outcome in steps:
            steps[task.outcome].append(len(task.steps))
    assert statistics.mean(steps["failure"]) > statistics.mean(steps["success"]) + 1


def test_the_last_action_of_a_task_fits_its_outcome() -> None:
    for task in plan(1000).tasks:
        *before, last = [step.action["type"] for step in task.steps]
        assert not {"done", "error"} & set(before)
        if task.outcome in ("success", "evaluation_error"):
            assert last == "done"
        elif task.outcome == "agent_error":
            assert last == "error"
        elif task.outcome == "infrastructure_error":
            assert last not in ("done", "error")
        else:
            assert (last == "done") == (len(task.steps) < task.max_steps)


def test_cache_reads_equal_what_was_written_before(usual: Scenario) -> None:
    for task in usual.tasks:
        for step, following in itertools.pairwise(task.steps):
            held = step.usage["cache_read_input_tokens"] + step.usage["cache_creation_input_tokens"]
            assert following.usage["cache_read_input_tokens"] == held
        assert all(count >= 0 for step in task.steps for count in step.usage.values())
        assert all(step.usage["output_tokens"] > 0 for step in task.steps)


def test_only_first_actions_are_judged_and_most_are_correct(usual: Scenario) -> None:
    judged = Counter(task.steps[0].first_action_correct for task in usual.tasks)
    assert judged[True] > judged[False] > 0
    assert judged[None] < 0.25 * len(usual.tasks)
    assert all(step.first_action_correct is None for task in usual.tasks for step in task.steps[1:])


def test_some_calls_are_repeated(usual: Scenario) -> None:
    steps = [step for task in usual.tasks for step in task.steps]
    assert 0.005 < sum(step.retry for step in steps) / len(steps) < 0.08


def test_actions_lie_on_the_screen_and_clicks_on_what_they_name(usual: Scenario) -> None:
    kinds = set()
    for task in usual.tasks:
        for step in task.steps:
            action = step.action
            kinds.add(action["type"])
            assert all(0 <= action[key] <= 1 for key in ("x", "y", "end_x", "end_y") if key in action)
            if action["type"] == "click":
                assert (action["x"], action["y"]) == click_points(task.domain)[action["target_name"]]
            assert step.reasoning
    assert kinds == {"click", "type", "key", "scroll", "drag", "done", "error"}


def test_everything_that_a_route_clicks_exists() -> None:
    for name, domain in DOMAINS.items():
        for move in itertools.chain(*domain.routes):
            for index in range(max(map(len, WORDS.values()))):
                words = {word: choices[index % len(choices)] for word, choices in WORDS.items()}
                verb, _, rest = move.format(**words).partition(" ")
                assert verb in ("click", "type", "press", "scroll", "drag")
                assert verb != "click" or rest in click_points(name), (name, rest)


# --- the screens ------------------------------------------------------------------------------------------------------


def test_each_screenshot_is_a_small_picture_of_960_by_600() -> None:
    scenes = [step.scene for task in plan(40).tasks for step in task.steps]
    assert {scene.domain for scene in scenes} >= set(DOMAINS) - {"microsoft_paint"}
    for scene in scenes[::5]:
        png = draw(scene)
        assert len(png) < 12 * 1024
        assert picture(png).size == (WIDTH, HEIGHT) == (960, 600)


def test_an_action_shows_on_the_next_screen(usual: Scenario) -> None:
    task = next(task for task in usual.tasks if task.domain == "notepad")
    for step, following in itertools.pairwise(task.steps):
        if step.action["type"] == "type":
            assert following.scene.lines[-1] == step.action["text"]
            assert draw(step.scene) != draw(following.scene)
        if step.action["type"] == "click":
            assert following.scene.pointer == (step.action["x"], step.action["y"])


@pytest.mark.parametrize("domain", APPS)
def test_the_same_scene_is_the_same_picture_and_typing_changes_it(domain: str) -> None:
    before = Scene(domain, "example")
    assert draw(before) == draw(Scene(domain, "example"))
    if domain not in ("settings", "microsoft_paint"):
        assert draw(before) != draw(Scene(domain, "example", lines=("12:00",)))


@pytest.mark.parametrize("domain", APPS)
def test_click_targets_lie_inside_the_window_and_do_not_overlap(domain: str) -> None:
    boxes = APPS[domain].targets | APPS[domain].menu_boxes()
    assert len(boxes) == len(APPS[domain].targets) + len(APPS[domain].menus)
    for name, (x, y, width, height) in APPS[domain].boxes().items():
        assert 120 <= x < x + width <= 936, name
        assert 62 <= y < y + height <= 540, name
    for (one, a), (other, b) in itertools.combinations(boxes.items(), 2):
        apart = a[0] + a[2] <= b[0] or b[0] + b[2] <= a[0] or a[1] + a[3] <= b[1] or b[1] + b[3] <= a[1]
        assert apart, f"{one} and {other}"


def test_the_pointer_is_drawn_at_its_coordinates() -> None:
    image = picture(draw(Scene("notepad", "draft.txt", pointer=(0.5, 0.5))))
    assert image.getpixel((480, 300)) == (0, 0, 0)
    assert image.getpixel((483, 310)) == (255, 255, 255)
    assert picture(draw(Scene("notepad", "draft.txt"))).getpixel((480, 300)) == (255, 255, 255)


def test_a_switch_that_was_clicked_is_on_and_clicked_again_off() -> None:
    x, y = click_points("settings")["Bluetooth"]
    point = round(x * WIDTH) - 16, round(y * HEIGHT)

    def colour(times: int) -> object:
        return picture(draw(Scene("settings", "Settings", touched=("Bluetooth",) * times))).getpixel(point)

    assert colour(0) == colour(2) != colour(1)


def test_text_that_an_agent_types_cannot_break_a_screen() -> None:
    for domain in APPS:
        png = draw(Scene(domain, "Ünïcode ☃" * 50, lines=("x" * 5000, "", "\x00\n\t"), touched=("nowhere", "File > ")))
        assert picture(png).size == (960, 600)


@given(st.text(max_size=200), st.integers(0, 300))
def test_a_text_keeps_to_its_room(text: str, room: int) -> None:
    end = Canvas.blank(900, 40).write(0, 0, text, "#ffffff", room=room)
    assert end <= max(room, text_width(".."))


@given(st.integers(-20, 60), st.integers(-20, 60), st.integers(-1, 70), st.integers(-1, 70))
def test_a_block_covers_its_width_and_height_and_nothing_else(x: int, y: int, width: int, height: int) -> None:
    canvas = Canvas.blank(48, 45)
    canvas.block(0, 0, 48, 45, "#000000")
    canvas.block(x, y, width, height, "#ff0000")
    pixels = picture(canvas.png())
    red = {(i, j) for i in range(48) for j in range(45) if pixels.getpixel((i, j)) == (255, 0, 0)}
    assert red == {(i, j) for i in range(48) for j in range(45) if x <= i < x + width and y <= j < y + height}


def test_drawing_on_a_copy_leaves_the_original_unchanged() -> None:
    first = Canvas.blank(8, 8)
    first.block(0, 0, 8, 8, "#ffffff")
    before = first.png()
    first.copy().block(0, 0, 4, 4, "#000000")
    assert first.png() == before
