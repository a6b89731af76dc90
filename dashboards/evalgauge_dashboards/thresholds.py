"""Every limit at which an alert fires, with the reason for it. Change one here and build the dashboards again."""

from __future__ import annotations

REGRESSION_P = 0.05
"""At most this share of runs that are as good as their baseline may ever raise the alert. Only the anytime-valid
p-value is compared with it: it may be looked at each minute, the exact test's may not."""
REGRESSION_SAMPLE = 20
"""Measured tasks below which a comparison raises nothing: a few hard tasks at the start are no regression."""
REGRESSION_FLOOR = 0.02
"""A difference under two percentage points raises nothing, however significant it is. Above that, the difference has
to be larger than the standard error of the baseline's own rate, which no repeat of the same model exceeds by nature:
√(Σ pᵢ (1 - pᵢ)) / n ≤ √(p (1 - p) / n) for tasks with their own chances pᵢ (Jensen's inequality)."""
DOMAIN_DROP = 0.1
"""A domain has few tasks: a significant difference under ten points is told by the whole run's comparison."""
SAME_DELTA = 1e-6
"""Below this, the difference in score is the one in success: sums of floating-point numbers differ in their last
digits."""
INCOMPLETE_SHARE = 0.2
"""Of the tasks of a completed run, without a measurement: more than a few errors, which the burn rates judge."""

BUDGET_SHARE = 1.0
"""Of the budget, for the cost so far and for the projected one."""
JUST_FINISHED = 3600.0
"""Seconds after its last event for which a run still raises what is only worth a message now: long enough to report a
last task that exceeded the budget or a pool whose death ended the run, short enough that a finished run, which costs
nothing any more, pages nobody at night."""
PROJECTION_WORK = 0.05
"""The share of the work that must be done before the projection is used."""
SPIKE_FACTOR = 3.0
"""Times the run's usual rate: twice happens when the hard tasks come last."""
SPIKE_USD_PER_HOUR = 1.0
"""US dollars per hour below which a spike is not worth a message."""
SPIKE_SAMPLES = 6
"""Times five minutes with any cost in the last six hours: with less than half an hour there is no usual rate."""
UNCOSTED_SHARE = 0.01
"""Of a model's calls. A call that failed reports no tokens, so a few are in every run; beyond one in a hundred the
error of the cost is visible in the shown digits."""
SILENT_SAMPLE = 3
"""Calls without tokens below which a share of few calls is chance: one that failed of the first fifty is 2 %."""

AGENT_ERROR_SHARE = 0.8
"""Of the attempts of half an hour: agents crash on some tasks; on nearly all only where something breaks every one."""
AGENT_ERROR_SAMPLE = 5
"""Agent errors in the half hour below which that share is chance."""
FAILING_SHARE = 0.5
"""Of a model's calls in 15 minutes: with an expired key it is every one, with a provider's bad day one in ten."""
FAILING_SAMPLE = 10
"""Calls in the 15 minutes below which that share is chance."""
RETRY_SHARE = 0.3
"""Of a model's calls in an hour: one in ten is ordinary under a rate limit."""
RETRY_SAMPLE = 50
"""Calls in the hour below which that share is chance."""
SLOW_FACTOR = 4.0
"""Times the mean duration of the run's earlier calls: contexts that grow within a task make twice to three times."""
SLOW_SAMPLE = 20
"""Calls with a duration in the 15 minutes, and before them, below which a mean is chance."""
SLOW_SECONDS = 5.0
"""Seconds of a mean call below which none is slow: after the answers of a cache or a mock, which take no time, any is
many times as long."""
WORKER_ERROR_SHARE = 0.8
"""Of a worker's attempts in an hour: a broken machine fails all of them."""
OTHERS_ERROR_SHARE = 0.3
"""Of the other workers' attempts: with more, the run fails and not the worker."""

NO_PROGRESS = 3600.0
"""Seconds without an event while heartbeats come: the longest tasks of desktop benchmarks take about 40 minutes."""

INFRASTRUCTURE_OBJECTIVE = 0.02
"""The share of attempts that may end as infrastructure or evaluation error over a month of evaluations."""
FAST_BURN = 14.4
"""Times the objective over 1 h and 10 min: 2 % of a month's allowance in an hour (Site Reliability Workbook, ch. 5)."""
SLOW_BURN = 6.0
"""Times the objective over 6 h and 30 min: 5 % of a month's allowance in six hours (same source)."""
BURN_SAMPLE = 3
"""Errors in the long window, or tasks of a run, below which a share of few attempts is chance."""

KEEP_FIRING = "10m"
"""How long an alert keeps firing after its value, which goes up and down around its limit, fell below: one message
instead of one per hour."""

IDLE_FOR = "30m"
"""A machine between two tasks is idle for minutes; one idle for half an hour was forgotten."""
SOURCE_AGE = 1800.0
"""Seconds since a polled source last answered: three of the slowest default interval (10 min)."""
PRICES_AGE = 2 * 86400.0
"""Seconds: price lists are cached for a day."""
RECENT = 86400.0
"""Seconds after its last event for which a run raises alerts, so that the morning sees the night. Older runs raise
nothing."""
SERVED_WITHIN = "7d"
"""A machine that no run used in this time belongs to somebody else, as far as anyone knows."""
EXPORTER_ANSWERS = 0.65
"""Share of the scrapes of ten minutes: up to three that fail, one a minute, are a restart, an exporter that crashes and
starts again fails every second one."""
