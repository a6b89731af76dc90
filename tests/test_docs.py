"""The documentation: its examples run, and every command, option, address and event is described."""

import importlib.util
import inspect
import re
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import yaml

from evalgauge import Run, Task, metrics, track_run
from evalgauge.events import TYPES
from evalgauge.normalize import LlmCallFields
from evalgauge_dashboards.build import build
from evalgauge_exporter.cli.main import cli
from evalgauge_exporter.demo.player import write_finished_run
from evalgauge_exporter.demo.scenario import plan
from evalgauge_exporter.web.app import create_app
from tests.exporter.cli.invoking import evalgauge
from tests.exporter.runs import exporter_of
from tests.parts import promtool

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*(ROOT / "docs").rglob("*.md"), *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY"))]
)
GENERATED = ("metrics.md", "panels.md")


def text(*names: str) -> str:
    return "\n".join((ROOT / name).read_text(encoding="utf-8") for name in names)


def test_the_examples_of_the_numbers_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", text("docs/numbers.md"), re.DOTALL)
    assert len(blocks) >= 5
    for block in blocks:
        exec(compile(block, "docs/numbers.md", "exec"), {})


def test_every_type_of_event_is_documented() -> None:
    for kind in TYPES:
        assert f"| `{kind}` |" in text("docs/runlog.md")


def commands(group: click.Group, before: str = "") -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found += commands(command, f"{before}{name} ")
        else:
            found.append((f"{before}{name}", command))
    return found


@pytest.mark.parametrize(("name", "command"), commands(cli), ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_and_option_is_documented(name: str, command: click.Command) -> None:
    page = text("docs/commands.md")
    assert f"## `evalgauge {name}`" in page
    section = page.partition(f"## `evalgauge {name}`")[2].partition("\n## ")[0]
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert f"`{parameter.opts[0]}" in section, f"{parameter.opts[0]} of evalgauge {name}"


@pytest.mark.parametrize(
    "function",
    [track_run, Run.task, Run.worker, Task.step, Task.llm_call, Task.log, Task.finish],
    ids=lambda each: each.__name__,
)
def test_every_argument_of_the_tracker_is_documented(function: Callable[..., object]) -> None:
    sections = re.split(r"^## ", text("docs/tracker.md"), flags=re.MULTILINE)
    (section,) = (section for section in sections if re.match(rf"`(\w+\.)?{function.__name__}\(", section))
    names = [*inspect.signature(function).parameters]
    if names[-1] == "call":
        names = [*LlmCallFields.__annotations__]
    for name in names:
        if name != "self":
            assert f"`{name}`" in section or re.search(rf"\A.*\b{name}, ", section), name


def test_every_address_is_documented(tmp_path: Path) -> None:
    page = text("docs/api.md")
    for path in create_app(exporter_of(tmp_path)).openapi()["paths"]:
        assert f"`{path}" in page, path


REPEATED_WORDS = 12
"""So many words in a row stand on one page only."""


def sequences(page: Path) -> set[tuple[str, ...]]:
    """The sequences of ``REPEATED_WORDS`` words on a page, without code and the targets of links."""
    prose = re.sub(
        r"^```.*?^```|^    .*?$|\]\([^)]*\)", " ", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    words = re.findall(r"\w[\w'./-]*", prose.lower())
    return {tuple(words[start : start + REPEATED_WORDS]) for start in range(len(words) - REPEATED_WORDS + 1)}


def test_nothing_is_written_on_two_pages() -> None:
    pages: dict[tuple[str, ...], Path] = {}
    repeated = []
    for page in PAGES:
        for words in sequences(page) if page.name not in GENERATED else ():
            if pages.setdefault(words, page) != page:
                repeated.append(f"{pages[words].name}, {page.name}: {' '.join(words)}")
    assert len(pages) > 10_000
    assert repeated == []


def test_every_picture_is_shown_and_drawn_from_seeded_runs() -> None:
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "scripts" / "pictures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    drawn = {picture.name for picture in module.pictures("t")}
    drawn |= {f"dashboard-{name}-{theme}" for name, theme in module.DASHBOARDS.items()}
    shown = {name for page in PAGES for name in re.findall(r"images/([\w-]+)\.png", page.read_text(encoding="utf-8"))}
    assert {path.stem for path in (ROOT / "docs" / "images").iterdir()} == shown == drawn


README = text("README.md")


def readme_blocks(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    assert found
    return found


@pytest.fixture(scope="module")
def demo_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the README's examples run, with the runs that ``make demo`` keeps."""
    folder = tmp_path_factory.mktemp("readme")
    for model, skill in (("claude-sonnet-4-5", 0.0), ("claude-haiku-4-5", -0.18)):
        scenario, run_id = plan(154, seed=8, skill=skill), f"waa-demo-{model}-154-7-earlier"
        write_finished_run(folder / "results", run_id, scenario, model=model, speed=60, ended_at=time.time() - 9000)
    return folder


def test_the_snippets_of_the_readme_run_as_they_stand(demo_results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(demo_results)
    for block in readme_blocks("python"):
        exec(compile(block, "README.md", "exec"), {})
    commands = [shlex.split(line, comments=True) for block in readme_blocks("sh") for line in block.splitlines()]
    ran = []
    for command in commands:
        match command:
            case ["evalgauge", "serve", *arguments]:
                create_app(exporter_of(*map(Path, arguments)))
            case ["evalgauge", name, *arguments]:
                done = evalgauge(name, *arguments)
                assert done.returncode == 0, (command, done.stdout, done.stderr)
                ran.append(name)
            case ["make", target]:
                assert f"\n{target}:" in text("Makefile")
            case ["pip" | "pipx", "install", requirement] | ["uvx", "--from", requirement, "evalgauge", "demo"]:
                extra = re.fullmatch(r"evalgauge(?:\[(\w+)\])?", requirement)
                assert extra
                assert not extra[1] or f"\n{extra[1]} = [" in text("pyproject.toml")
            case _:
                pytest.fail(f"a command that this test does not know: {command}")
    assert ran == ["runs", "watch", "compare", "check", "replay"]
    assert (demo_results / "site" / "index.html").exists()


def test_the_queries_of_the_readme_name_metrics_and_labels_that_exist() -> None:
    for block in readme_blocks("promql"):
        for name, labels in re.findall(r"(agent_eval_\w+)\{([^}]*)\}", block):
            metric = next(metric for metric in metrics.CATALOGUE if metric.name == name)
            assert set(re.findall(r"(\w+)=", labels)) <= set(metric.labels)
    (scrape,) = (yaml.safe_load(block) for block in readme_blocks("yaml"))
    assert scrape["scrape_configs"][0]["static_configs"] == [{"targets": ["127.0.0.1:9909"]}]


def test_prometheus_takes_the_configuration_of_the_guide(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", text("docs/guides/operate.md"), re.DOTALL)
    (tmp_path / "prometheus.yml").write_text(block)
    build(tmp_path / "generated")
    command = [str(promtool()), "check", "config", str(tmp_path / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "rules found" in done.stdout


def test_the_readme_says_where_grafana_is_and_how_to_sign_in() -> None:
    compose = yaml.safe_load(text("docker-compose.yml"))
    assert "http://localhost:3000/" in README
    assert "docker compose exec grafana cat /var/lib/grafana/admin-password" in README
    password = compose["services"]["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD__FILE"]
    assert password == "/var/lib/grafana/admin-password"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_have_a_target(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_every_file_that_the_architecture_names_exists() -> None:
    named = re.findall(r"`((?:instrumentation|exporter|dashboards|tests)/[^`]*)`", text("docs/architecture.md"))
    assert len(named) > 20
    for path in named:
        assert (ROOT / path).exists(), path


def test_llms_txt_names_every_page_and_nothing_else() -> None:
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}
    included = {"docs/contributing.md", "docs/changelog.md", "docs/security-policy.md"}  # root files as pages
    named = set(re.findall(r"\]\(([^)]+)\)", text("llms.txt")))
    assert named == (pages - included) | {"README.md", "CONTRIBUTING.md"}
