"""``evalgauge leaderboard``: models, or values of a tag, ranked on each benchmark."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from evalgauge_exporter.analysis.comparison import Interval
from evalgauge_exporter.analysis.leaderboard import Leaderboard, LeaderboardCache
from evalgauge_exporter.cli.errors import CliError
from evalgauge_exporter.cli.output import escape_control, format_percent, format_usd
from evalgauge_exporter.cli.reports import Cells, create_console, print_table
from evalgauge_exporter.cli.run_selection import RunSelection, config_option, scorer_option
from evalgauge_exporter.views.leaderboard import leaderboards


@click.command("leaderboard")
@click.argument("names", metavar="RESULTS_DIR...", nargs=-1)
@click.option("--by", default="model", show_default=True, metavar="GROUP", help="model, agent or tag:NAME.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer of /api/benchmark/leaderboard.")
@scorer_option
@config_option
def command(names: tuple[str, ...], by: str, as_json: bool, scorer: str | None, config_path: Path | None) -> None:
    """Rank models, agents or tags on each benchmark.

    Finished runs of RESULTS_DIR (default ./results) take part; ids pick some. Runs of one group are pooled; each two
    groups are compared over the tasks that both measured, corrected for their number (Holm).
    """
    runs = RunSelection(names, config_path, scorer=scorer)
    for run_id in runs.ids:
        runs.read(run_id)
    cache, now = LeaderboardCache(runs.exporter.analysis), time.time()
    try:
        if as_json:
            click.echo(json.dumps(leaderboards(cache, now, by).model_dump(mode="json"), indent=2))
            return
        boards = cache.build(now, by=by)
    except ValueError as error:
        raise CliError(f"--by: {error}") from error
    if not boards:
        click.echo(f"no finished run has a {by}", err=True)
    console = create_console()
    for board in boards:
        click.echo(escape_control(board.benchmark))
        print_table(_rank_table(board, by), console)
        if len(board.rows) > 1:
            print_table(_pair_table(board), console)


def _rank_table(board: Leaderboard, by: str) -> Cells:
    columns = ("#", by, "runs", "tasks", "success", "its 95 % interval", "score", "cost", "per success", "front")
    rows = []
    for row in board.rows:
        rows.append(
            (
                str(row.rank),
                row.name,
                str(len(row.run_ids)),
                str(row.tasks),
                format_percent(row.success_rate),
                _format_interval(row.rate_interval),
                "–" if row.mean_score is None else f"{row.mean_score:,.3g}",
                format_usd(row.cost_usd, incomplete=not row.cost_is_complete),
                format_usd(row.cost_per_success_usd),
                "yes" if row.on_front else "",
            )
        )
    return Cells(columns, rows)


def _format_interval(interval: Interval | None) -> str:
    return "–" if interval is None else f"{interval.low * 100:.0f} to {interval.high * 100:.0f}%"


def _pair_table(board: Leaderboard) -> Cells:
    rows = []
    for (better, worse), pair in board.pairs.items():
        tasks, p_value, verdict = pair.comparison.paired_tasks, pair.adjusted_p_value, pair.verdict
        if not tasks and pair.score_verdict is not None and pair.score_adjusted_p_value is not None:  # no success rates
            score = pair.comparison.score
            tasks, p_value, verdict = score.pairs if score else 0, pair.score_adjusted_p_value, pair.score_verdict
        rows.append((f"{worse} against {better}", str(tasks), f"{p_value:.2g}", verdict.replace("_", " ")))
    return Cells(("pair", "tasks", "p (Holm)", "verdict"), rows)
