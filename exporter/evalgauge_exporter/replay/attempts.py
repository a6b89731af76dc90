"""The part of the site that holds one attempt: its steps, with the screenshots where the page finds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evalgauge_exporter.replay.features import TrajectoryFeatures, extract_features
from evalgauge_exporter.replay.screenshots import AnyScreenshot, ScreenshotFolder, differ
from evalgauge_exporter.replay.trajectories import Trajectory
from evalgauge_exporter.state.models import Attempt

PlaceScreenshot = Callable[[AnyScreenshot | None, str, int], dict[str, str]]
"""Places the screenshot of a step and returns the keys that the page needs.

Called with the screenshot (``None`` where it is missing), its path in the log and the position of the step from 0.
Returns ``screenshot`` (and ``thumbnail``) with an address, or ``missing`` with the path.
"""


def annotate_steps(trajectory: Trajectory, shots: ScreenshotFolder, place: PlaceScreenshot) -> TrajectoryFeatures:
    """Add to each step where its screenshot is and whether the screen changed after it.

    Args:
        trajectory: The attempt's trajectory; its steps are changed in place.
        shots: The screenshots of the run.
        place: Places each screenshot.

    Returns:
        The features of the attempt.
    """
    steps = trajectory.steps
    paths = [step.get("screenshot") for step in steps]
    # steps that see the same screen name the same file, which is found, decoded and placed once
    found = {path: None if path is None else shots.find(path) for path in paths}
    files = [found[path] for path in paths]
    placed: dict[str, dict[str, str]] = {}
    for index, step in enumerate(steps):
        differs = differ(files[index], files[index + 1]) if index + 1 < len(steps) else None
        if differs is not None:
            step["changed"] = differs
        if "screenshot" in step:
            path = step.pop("screenshot")
            if path not in placed:
                placed[path] = place(files[index], path, index)
            step.update(placed[path])
    return extract_features(steps)


def build_attempt_part(
    attempt: Attempt, status: str, trajectory: Trajectory, features: TrajectoryFeatures
) -> dict[str, Any]:
    """Build the part of the site that is loaded when the attempt is opened.

    Args:
        attempt: The attempt, from the state of the run.
        status: Its outcome, ``running`` or ``pending``.
        trajectory: Its annotated trajectory.
        features: Its features.
    """
    return {
        "task_id": attempt.task_id,
        "attempt": attempt.attempt,
        "domain": attempt.domain,
        "instruction": attempt.instruction,
        "outcome": status,
        "score": attempt.score,
        "counted_steps": attempt.steps,
        "max_steps": attempt.max_steps,
        "duration_seconds": attempt.duration_seconds,
        "started_at": attempt.started_at,
        "finished_at": attempt.finished_at,
        "worker": attempt.worker_id,
        "error": attempt.error,
        "reason": attempt.reason,
        "tokens": attempt.tokens,
        "cost_usd": None if attempt.cost_usd is None else float(attempt.cost_usd),
        "uncosted_calls": attempt.uncosted_calls,
        "loop": None if features.loop is None else features.loop._asdict(),
        "trouble": features.first_problem,
        "steps": trajectory.steps,
        "calls": trajectory.calls,
        "lines": trajectory.lines,
        "messages": trajectory.messages,
        "scores": attempt.scores,
        **trajectory.result,
    }
