"""How far the estimated end is from the end that came, over evaluations that are replayed and cut part-way.

Each row has two errors of p50, medians over the moments at which it was asked, beside those of the naive estimate:
that of the time left, relative to the time left, and that of the end, relative to the whole duration of the run
(half-way through the second is about half of the first). The ratio is that of the first to the naive one's.

"Floor" rows are estimates that know the true distribution of every domain. What is left of their error is chance, so
no estimate can do better; one that must learn the domains' means from the first half of as many tasks as are still to
come errs by √2 times as much, and for domains that it has not seen yet by what these differ.
"""

from __future__ import annotations

import heapq
import json
import math
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import NormalDist, fmean, median
from typing import NamedTuple

from benchmarks.rows import Row, best_of
from evalgauge_exporter.analysis.eta import UNNAMED, DurationStats, Eta, FinishedAttempt, RunningAttempt, estimate
from evalgauge_exporter.analysis.task_groups import TaskGroups

CUTS = (0.10, 0.25, 0.50, 0.75)
WORKERS = (1, 2, 4, 8, 16)
SIZES = (24, 24, 21, 19, 19, 17, 13, 5, 5, 4, 3)
"""Tasks in each domain: 154 in 11, in proportions like those of Windows Agent Arena."""
SPREADS = (0.4, 0.6, 0.8)
"""Standard deviations of log durations within a domain."""
SEEDS = 80
AIM = "75–85 %"
AIM_AT_HALF = "< 10 %, ≤ 0.6, 75–85 %"
RECORDED = Path(__file__).parent.parent / "tests" / "data"

Task = tuple[str, float, float, str | None]
"""domain, start, end, worker; times in seconds"""


class Moment(NamedTuple):
    """An evaluation cut part-way, and what came after."""

    cut: float
    now: float
    ended: list[FinishedAttempt]
    running: list[RunningAttempt]
    pending: dict[str, int]
    again: list[RunningAttempt]
    """Attempts that went with their worker and are done again at the end."""
    elapsed: float
    left: float
    naive: float


class Judged(NamedTuple):
    """An estimate beside what came."""

    cut: float
    error: float
    """Of p50, relative to the time left."""
    naive_error: float
    whole_error: float
    """The same in time, relative to the whole duration of the run."""
    naive_whole_error: float
    within: bool
    """Whether the end came between p10 and p90."""


def cut_evaluation(tasks: Sequence[Task], lost: Sequence[Task] = (), cuts: Sequence[float] = CUTS) -> Iterator[Moment]:
    """The evaluation as it was when so much of its tasks had ended; ``lost`` are attempts that went with their worker.

    The naive estimate is elapsed time / tasks done × tasks not done.
    """
    tasks = sorted(tasks, key=lambda task: task[2])
    start = min(task[1] for task in tasks)
    for cut in cuts:
        done = math.ceil(cut * len(tasks))
        now = tasks[done - 1][2]
        if not (left := tasks[-1][2] - now):
            continue
        rest = tasks[done:]
        pending = Counter(domain for domain, begin, _, _ in rest if begin > now)
        running = [RunningAttempt(domain, now - begin, worker) for domain, begin, _, worker in rest if begin <= now]
        again = []
        for domain, begin, end, worker in lost:
            if begin <= now < end:
                running.append(RunningAttempt(domain, now - begin, worker))
                pending[domain] -= 1  # its second attempt is not known of yet
            elif end <= now and pending[domain] > 0:  # the last in the queue
                again.append(RunningAttempt(domain, end - begin, worker))
                pending[domain] -= 1
        ended = [FinishedAttempt(domain, end - begin, end, worker) for domain, begin, end, worker in tasks[:done]]
        naive = (now - start) / done * len(rest)
        yield Moment(cut, now, ended, running, dict(pending), again, now - start, left, naive)


def estimate_from_moment(moment: Moment, earlier: DurationStats | None = None) -> Eta | None:
    """The estimate of evalgauge."""
    return estimate(moment.now, moment.ended, moment.running, moment.pending, again=moment.again, earlier=earlier)


def estimate_named_late(moment: Moment) -> Eta | None:
    """The same where a task's domain is known only once it runs."""
    return estimate_from_moment(moment._replace(pending={UNNAMED: sum(moment.pending.values())}))


def estimate_ends_only(moment: Moment) -> Eta | None:
    """The same where the source tells neither of running tasks nor of workers."""
    pending = Counter(moment.pending) + Counter(task.domain for task in (*moment.running, *moment.again))
    ended = [task._replace(worker_id=None) for task in moment.ended]
    return estimate_from_moment(moment._replace(ended=ended, running=[], again=[], pending=dict(pending)))


def judge(
    tasks: Sequence[Task],
    lost: Sequence[Task] = (),
    cuts: Sequence[float] = CUTS,
    estimated: Callable[[Moment], Eta | None] = estimate_from_moment,
) -> list[Judged]:
    """The estimates of an evaluation, simulated or recorded, beside what came."""
    judged = []
    for moment in cut_evaluation(tasks, lost, cuts):
        if eta := estimated(moment):
            missed, naive, whole = (
                abs(eta.p50 - moment.left),
                abs(moment.naive - moment.left),
                moment.elapsed + moment.left,
            )
            within = eta.p10 <= moment.left <= eta.p90
            judged.append(
                Judged(moment.cut, missed / moment.left, naive / moment.left, missed / whole, naive / whole, within)
            )
    return judged


class Scenario(NamedTuple):
    """A kind of evaluation."""

    order: str  # sorted (by domain) or shuffled
    workers: int
    loses: bool  # a worker half-way

    def __str__(self) -> str:
        hands = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        return f"{self.order}, {hands}, one lost" if self.loses else f"{self.order}, {hands}"


class Simulated(NamedTuple):
    """An evaluation of one scenario, what it was drawn from, and an earlier run of the same benchmark."""

    scenario: Scenario
    tasks: list[Task]
    lost: list[Task]
    medians: dict[str, float]
    spread: float
    earlier: DurationStats


def simulate(scenario: Scenario, seed: int, gap: float = 0.0) -> Simulated:
    """Lognormal durations; the domains' medians go from 1 to 10 min in even ratios, in random order.

    The earlier run has another speed altogether (spread 0.4 of its log) and in each domain (0.2). The worker that is
    lost goes when 40 to 50 % of the tasks have ended; its task is done again at the end. ``gap`` seconds pass between
    two tasks of a worker.
    """
    rng = random.Random(f"judged {seed} {scenario!r}")
    spread = rng.choice(SPREADS)
    factors = [10 ** (at / (len(SIZES) - 1)) for at in range(len(SIZES))]
    rng.shuffle(factors)
    medians = {f"domain_{at:02d}": 60 * factor for at, factor in enumerate(factors)}
    queue = [
        (domain, rng.lognormvariate(math.log(median), spread))
        for (domain, median), size in zip(medians.items(), SIZES, strict=True)
        for _ in range(size)
    ]
    if scenario.order == "shuffled":
        rng.shuffle(queue)
    lost_after = int(len(queue) * rng.uniform(0.4, 0.5)) if scenario.loses else None
    tasks, lost = play(queue, scenario.workers, lost_after, gap)
    speed = rng.gauss(0, 0.4)
    then = {domain: math.log(median) + speed + rng.gauss(0, 0.2) for domain, median in medians.items()}
    earlier = DurationStats(
        FinishedAttempt(domain, rng.lognormvariate(then[domain], spread), 0.0, None) for domain, _ in queue
    )
    return Simulated(scenario, tasks, lost, medians, spread, earlier)


def play(
    queue: Sequence[tuple[str, float]], workers: int, lost_after: int | None, gap: float
) -> tuple[list[Task], list[Task]]:
    """Workers take (domain, seconds) from the queue as they come free; one is lost after so many tasks have ended."""
    waiting = deque(queue)
    free = [f"worker_{at}" for at in range(workers)]
    busy: list[tuple[float, float, str, str]] = []  # end, start, worker, domain
    tasks: list[Task] = []
    lost: list[Task] = []
    now = 0.0
    while waiting or busy:
        while free and waiting:
            domain, seconds = waiting.popleft()
            heapq.heappush(busy, (now + gap + seconds, now + gap, free.pop(), domain))
        now, start, worker, domain = heapq.heappop(busy)
        tasks.append((domain, start, now, worker))
        free.append(worker)
        if len(tasks) == lost_after and busy:
            end, start, worker, domain = busy.pop()
            lost.append((domain, start, now, worker))
            waiting.append((domain, end - start))
            heapq.heapify(busy)
    return tasks, lost


def read_recorded(run: Path) -> list[Task]:
    """The tasks of a recorded OpenAdapt run; those without a step have no start and are left out."""
    tasks: list[Task] = []
    for path in sorted(run.glob("tasks/*/execution.json")):
        execution = json.loads(path.read_text(encoding="utf-8"))
        about = path.with_name("task.json")
        domain = json.loads(about.read_text(encoding="utf-8")).get("domain") if about.exists() else None
        steps = execution.get("steps")
        if isinstance(steps, list) and steps and steps[0].get("timestamp"):
            start = float(steps[0]["timestamp"])
            tasks.append((domain or UNNAMED, start, start + float(execution["total_time_seconds"]), None))
    return tasks


def with_true_distribution(evaluation: Simulated, rng: random.Random, draws: int = 200) -> Callable[[Moment], Eta]:
    """An estimate that knows the true distribution of each domain: what is left of its error is chance."""
    normal = NormalDist()
    spread = evaluation.spread
    log_medians = {domain: math.log(median) for domain, median in evaluation.medians.items()}

    def rest(task: RunningAttempt) -> float:
        """What is left of a duration that is longer than the elapsed time."""
        middle = log_medians[task.domain]
        if task.elapsed_seconds <= 0:
            return rng.lognormvariate(middle, spread)
        longer = 1 - normal.cdf((math.log(task.elapsed_seconds) - middle) / spread)
        longest = middle - spread * normal.inv_cdf(max(1e-300, longer * (1 - rng.random())))
        return max(0.0, math.exp(longest) - task.elapsed_seconds)

    def estimate_with_truth(moment: Moment) -> Eta:
        ends = []
        deck = [domain for domain, count in moment.pending.items() for _ in range(count)]
        for _ in range(draws):
            rng.shuffle(deck)
            free = [rest(task) for task in moment.running]
            heapq.heapify(free)
            for domain in deck:
                heapq.heapreplace(free, free[0] + rng.lognormvariate(log_medians[domain], spread))
            for task in moment.again:
                heapq.heapreplace(free, free[0] + task.elapsed_seconds + rest(task))
            ends.append(max(free))
        ends.sort()
        return Eta(ends[draws // 10], ends[draws // 2], ends[-draws // 10])

    return estimate_with_truth


def row(what: str, judged: Sequence[Judged], aim: str = "") -> Row:
    """The median errors and the coverage of some estimates."""
    error, naive = median(each.error for each in judged), median(each.naive_error for each in judged)
    whole, naive_whole = (
        median(each.whole_error for each in judged),
        median(each.naive_whole_error for each in judged),
    )
    measured = f"left {error:.1%} | run {whole:.1%} | within {fmean(each.within for each in judged):.0%}"
    return Row(
        f"{what} ({len(judged)})", measured, f"naive: left {naive:.1%} | run {naive_whole:.1%}", error / naive, aim
    )


LEGEND = Row("share of the tasks done: …", "error of p50 in the time left | the run", "within: p10–p90 held", None)


def rows() -> Iterator[Row]:
    """Simulated evaluations by cut and by scenario, what more or less is known, recorded evaluations, and the cost."""
    scenarios = [
        Scenario(order, workers, loses)
        for order in ("sorted", "shuffled")
        for workers in WORKERS
        for loses in (False, True)
        if workers > 1 or not loses
    ]
    evaluations = [simulate(scenario, seed) for scenario in scenarios for seed in range(SEEDS)]
    judged = [(each.scenario, judge(each.tasks, each.lost)) for each in evaluations]
    yield LEGEND
    yield from _by_cut(judged)
    half = [(scenario, one) for scenario, many in judged for one in many if one.cut == 0.5]
    rng = random.Random(1)
    known: dict[str, list[Judged]] = {"shuffled": [], "sorted": []}
    for each in evaluations[:: SEEDS // 10]:
        known[each.scenario.order] += judge(each.tasks, each.lost, (0.5,), with_true_distribution(each, rng))
    yield row("50%: floor: all known but chance", [one for many in known.values() for one in many])
    for order in ("shuffled", "sorted"):
        yield row(f"50%: {order}, floor", known[order])
        yield from _other_knowledge(order, [each for each in evaluations if each.scenario.order == order])
        for loses in (False, True):
            for workers in WORKERS:
                scenario = Scenario(order, workers, loses)
                if found := [one for each, one in half if each == scenario]:
                    yield row(f"50%: {scenario}", found)
    yield from _by_spread([each for each in evaluations if each.scenario.order == "shuffled"])
    yield from _recorded()
    yield from _hard_cases()
    yield _cost()


AIM_OF_KIND = "75–90 %, limits at 50 %: ≤ 10 %"


def _hard_cases(seeds: int = 40) -> Iterator[Row]:
    """Limits, two kinds of tasks, a stuck task, restored tasks and long tasks, from a quarter of the tasks on."""
    for kind, simulate_kind in KINDS.items():
        for workers in (4, 16, 64):
            many = [one for seed in range(seeds) for one in simulate_kind(random.Random(f"{kind} {seed}"), workers)]
            for cut in (0.25, 0.5, 0.75):
                if found := [one for one in many if one.cut == cut]:
                    yield row(f"{cut:.0%}: {kind}, {workers} workers", found, AIM_OF_KIND if cut == 0.5 else "")


def _queue(rng: random.Random, sizes: Sequence[int] = SIZES, spread: float = 0.5) -> list[tuple[str, float]]:
    """Durations of tasks in domains whose medians go from 2 to 8 minutes, in random order."""
    queue = []
    for at, size in enumerate(sizes):
        middle = math.log(120 * 4 ** (at / max(1, len(sizes) - 1)))
        queue += [(f"domain_{at:02d}", rng.lognormvariate(middle, spread)) for _ in range(size)]
    rng.shuffle(queue)
    return queue


def _judge_from_quarter(
    tasks: Sequence[Task], estimated: Callable[[Moment], Eta | None] = estimate_from_moment
) -> list[Judged]:
    return judge(tasks, (), (0.25, 0.5, 0.75), estimated)


def _hard_limit(rng: random.Random, workers: int, *, stated: bool = False) -> list[Judged]:
    queue = _queue(rng, spread=0.8)
    limit = sorted(seconds for _, seconds in queue)[int(len(queue) * rng.uniform(0.5, 0.8))]
    tasks, _ = play([(domain, min(seconds, limit)) for domain, seconds in queue], workers, None, 5.0)
    if not stated:
        return _judge_from_quarter(tasks)

    def with_limit(moment: Moment) -> Eta | None:
        return estimate(moment.now, moment.ended, moment.running, moment.pending, limit=limit)

    return _judge_from_quarter(tasks, with_limit)


def _soft_limit(rng: random.Random, workers: int) -> list[Judged]:
    """A limit of steps, each of which takes its time."""
    queue = _queue(rng, spread=0.8)
    limit = sorted(seconds for _, seconds in queue)[int(len(queue) * 0.6)]
    cut = [(domain, min(seconds, limit * rng.lognormvariate(0, 0.08))) for domain, seconds in queue]
    return _judge_from_quarter(play(cut, workers, None, 5.0)[0])


def _bimodal(rng: random.Random, workers: int) -> list[Judged]:
    queue = [(domain, seconds * rng.choice((0.4, 3.0))) for domain, seconds in _queue(rng, spread=0.2)]
    return _judge_from_quarter(play(queue, workers, None, 5.0)[0])


def _one_stuck(rng: random.Random, workers: int) -> list[Judged]:
    """One task of the first half takes from 10 to 100 times as long."""
    queue = _queue(rng)
    at = rng.randrange(len(queue) // 2)
    queue[at] = (queue[at][0], queue[at][1] * 10 ** rng.uniform(1, 2))
    return _judge_from_quarter(play(queue, workers, None, 5.0)[0])


def _restored(rng: random.Random, workers: int) -> list[Judged]:
    """A resumed run: as many tasks as are left were restored from a checkpoint."""
    tasks, _ = play(_queue(rng), workers, None, 5.0)
    restored = [FinishedAttempt(domain, rng.uniform(0.001, 0.02), 0.0, "worker_0") for domain, *_ in tasks]

    def estimate_resumed(moment: Moment) -> Eta | None:
        return estimate_from_moment(moment._replace(ended=[*restored, *moment.ended]))

    return _judge_from_quarter(tasks, estimate_resumed)


def _long_tasks(rng: random.Random, workers: int) -> list[Judged]:
    """Few tasks of up to 500 steps of 5 s; a third of them runs into the limit."""
    queue = [
        (domain, min(500, rng.lognormvariate(math.log(300), 0.7)) * 5 * rng.lognormvariate(0, 0.03))
        for domain, _ in _queue(rng, (10, 10, 10, 10, 10))
    ]
    return _judge_from_quarter(play(queue, workers, None, 5.0)[0]) if workers < 64 else []


def _earlier_run(rng: random.Random, workers: int, *, kinds: bool = False) -> list[Judged]:
    """The same tasks in an earlier run at another speed, both times with a scatter of their own."""
    queue = [(domain, seconds * rng.choice((0.4, 3.0)) if kinds else seconds) for domain, seconds in _queue(rng)]
    before = {str(at): seconds * rng.lognormvariate(0.3, 0.25) for at, (_, seconds) in enumerate(queue)}
    groups = TaskGroups(before.items())
    now = [
        (groups.name(str(at), domain), seconds * rng.lognormvariate(0, 0.25))
        for at, (domain, seconds) in enumerate(queue)
    ]
    return _judge_from_quarter(
        play(now, workers, None, 5.0)[0], lambda moment: estimate_from_moment(moment, earlier=groups.stats)
    )


KINDS: dict[str, Callable[[random.Random, int], list[Judged]]] = {
    "hard limit, inferred": _hard_limit,
    "hard limit, stated": partial(_hard_limit, stated=True),
    "soft limit": _soft_limit,
    "two kinds of tasks": _bimodal,
    "one stuck task": _one_stuck,
    "restored from a checkpoint": _restored,
    "tasks of 500 steps": _long_tasks,
    "tasks known from an earlier run": _earlier_run,
    "two kinds, tasks known from an earlier run": partial(_earlier_run, kinds=True),
}


def _by_cut(judged: Sequence[tuple[Scenario, list[Judged]]]) -> Iterator[Row]:
    """All of them, and then apart: the loss of a worker that is still to come can't be foreseen."""
    for cut in CUTS:
        aim = AIM_AT_HALF if cut == 0.5 else AIM
        yield row(f"{cut:.0%}: all", [one for _, many in judged for one in many if one.cut == cut], aim)
    yield row("all cuts: all", [one for _, many in judged for one in many], AIM)
    for order in ("shuffled", "sorted"):
        for loses, words in ((False, "none lost"), (True, "one lost")):
            for cut in CUTS:
                chosen = [many for scenario, many in judged if (scenario.order, scenario.loses) == (order, loses)]
                aim = AIM if cut >= 0.5 or not loses else "not to be foreseen"
                yield row(f"{cut:.0%}: {order}, {words}", [o for many in chosen for o in many if o.cut == cut], aim)


def _other_knowledge(order: str, some: Sequence[Simulated]) -> Iterator[Row]:
    def at_half(estimated: Callable[[Simulated], Callable[[Moment], Eta | None]]) -> list[Judged]:
        return [one for each in some for one in judge(each.tasks, each.lost, (0.5,), estimated(each))]

    yield row(
        f"50%: {order}, earlier run known",
        at_half(lambda each: lambda moment: estimate_from_moment(moment, each.earlier)),
    )
    yield row(f"50%: {order}, named as they start", at_half(lambda _: estimate_named_late))
    yield row(f"50%: {order}, only ends are known", at_half(lambda _: estimate_ends_only))


def _by_spread(shuffled: Sequence[Simulated]) -> Iterator[Row]:
    for spread in SPREADS:
        some = [each for each in shuffled if each.spread == spread]
        yield row(
            f"50%: shuffled, spread {spread}",
            [one for each in some for one in judge(each.tasks, each.lost, (0.5,))],
        )
    gaps = [simulate(Scenario("shuffled", workers, False), seed, gap=60.0) for workers in WORKERS for seed in range(20)]
    yield row("50%: shuffled, 60 s between tasks", [one for each in gaps for one in judge(each.tasks, cuts=(0.5,))])


def _recorded() -> Iterator[Row]:
    """Recorded runs as they were, a few moments each, and their durations in other orders and with more workers."""
    for run in sorted(RECORDED.glob("openadapt-*/benchmark_results/*/")):
        if len(tasks := read_recorded(run)) < 12:
            continue
        yield row(f"recorded: {run.name}", judge(tasks))
        for order in ("shuffled", "sorted"):
            yield row(f"its durations, {order} anew", list(_played_anew(tasks, order)))


def _played_anew(tasks: Sequence[Task], order: str, times: int = 20) -> Iterator[Judged]:
    """At all cuts, with 1, 2 and 4 workers; sorted: domain by domain, in any order of domains and tasks."""
    rng = random.Random(f"anew {order}")
    by_domain: dict[str, list[float]] = {}
    for domain, start, end, _ in tasks:
        by_domain.setdefault(domain, []).append(end - start)
    for _ in range(times):
        names = rng.sample(sorted(by_domain), len(by_domain))
        queue = [(name, seconds) for name in names for seconds in rng.sample(by_domain[name], len(by_domain[name]))]
        if order == "shuffled":
            rng.shuffle(queue)
        for workers in (1, 2, 4):
            yield from judge(play(queue, workers, None, 0.0)[0])


def _cost() -> Row:
    rng = random.Random(1)
    queue = [(f"domain_{rng.randrange(11)}", rng.lognormvariate(5, 0.6)) for _ in range(10_000)]
    tasks, _ = play(queue, 100, None, 0.0)
    moment = next(cut_evaluation(tasks, cuts=(0.5,)))
    history = DurationStats(moment.ended)
    seconds = best_of(20, lambda: estimate(moment.now, history, moment.running, moment.pending))
    return Row("one estimate, 10,000 tasks, 100 workers", f"{seconds * 1e3:.1f} ms", "", None, "< 5 ms")
