"""What is wrong with a configuration is one line: where it was set, which key, what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalgauge_exporter.config.messages import find_line
from evalgauge_exporter.config.model import load_config
from evalgauge_exporter.errors import ConfigError

PROBE = '[[probe]]\nname = "a"\nkind = "tcp"\ntarget = "h:1"\n'
MACHINE = '[[machine]]\nname = "a"\nprovider = "p"\ninstance_type = "i"\nhourly_rate_usd = 1\n'
AZURE = '[[azure]]\nsubscription_id = "s"\n'


def refused(tmp_path: Path, text: str, **options: object) -> str:
    """The error, without the file's folder."""
    file = tmp_path / "evalgauge.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_config(file, **options)
    message = str(raised.value)
    assert "\n" not in message
    return message.replace(f"{tmp_path}/", "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('resuls = ["a"]', "evalgauge.toml:1: unknown key 'resuls'; did you mean 'results'?"),
        ('# a\n\nstall_after = "5x"', "evalgauge.toml:3: stall_after: '5x' is not a duration; write it as 30s"),
        ("stall_after = true", "evalgauge.toml:1: stall_after: true is not a duration"),
        ("stall_after = inf", "evalgauge.toml:1: stall_after: should be a finite number"),
        ("linger = -1", "evalgauge.toml:1: linger: should be greater than or equal to 0"),
        ("listen = 9909", "evalgauge.toml:1: listen: should be a text"),
        ("limits = 3", "evalgauge.toml:1: limits: should be a table"),
        ('results = ["a"]\nlisten = "9909"', "evalgauge.toml:2: listen is '9909'; write it as host:port"),
        ("results = 3", "evalgauge.toml:1: results: write a list"),
        ("success_threshold = nan", "evalgauge.toml:1: success_threshold: should be a finite number"),
        ('probe_registries = "perhaps"', "evalgauge.toml:1: probe_registries: should be true or false"),
        ("[limits]\nrun = 4", "evalgauge.toml:2: limits: unknown key 'run'; did you mean 'runs'?"),
        ('[limits]\nmodels = 3\nruns = "many"', "evalgauge.toml:3: limits.runs: should be a whole number"),
        ('[prices]\nazure_retail_url = "file:///etc/passwd"', "evalgauge.toml:2: prices.azure_retail_url: write it as"),
        ('[baselines]\n"waa/claude" = 3', "evalgauge.toml:2: baselines.waa/claude: should be a text"),
        ('[azure]\nsubscription_id = "s"', "evalgauge.toml:1: azure: write it as [[azure]]"),
        ('[[azure]]\nsubscription = "s"', "evalgauge.toml:2: [[azure]] 1: unknown key 'subscription'; did you mean"),
        (AZURE + "[[azure]]\ntags = []", "evalgauge.toml:3: [[azure]] 2: 'subscription_id' is missing"),
        ('[[azure]]\nsubscription_id = ""', "evalgauge.toml:2: [[azure]] 1: subscription_id: is empty"),
        (
            AZURE + 'base_url = "management.azure.com"',
            "evalgauge.toml:3: [[azure]] 1: base_url: write it as https://host",
        ),
        (AZURE + 'status_interval = "500ms"', "evalgauge.toml:3: [[azure]] 1: status_interval: should be greater than"),
        (AZURE + 'resource_groups = "agents"', "evalgauge.toml:3: [[azure]] 1: resource_groups: write a list"),
        ("[[aws]]\n[[aws]]\n", "evalgauge.toml:2: [[aws]] 2: this profile is listed twice; name it once"),
        (AZURE + AZURE.replace('"s"', '"S"'), "evalgauge.toml:3: [[azure]] 2: this subscription is listed twice"),
        (PROBE + PROBE + "timeout = 0", "evalgauge.toml:9: [[probe]] 2: timeout: should be greater than 0"),
        (
            MACHINE.replace("= 1", "= inf"),
            "evalgauge.toml:5: [[machine]] 1: hourly_rate_usd: should be a finite number",
        ),
    ],
)
def test_an_error_names_its_line_its_key_and_what_to_write(tmp_path: Path, text: str, words: str) -> None:
    assert refused(tmp_path, text).startswith(words)


def test_all_errors_of_a_file_are_reported_at_once(tmp_path: Path) -> None:
    message = refused(tmp_path, 'server = "x"\nstall_after = "5x"\n[limits]\nrun = 5\n[[azure]]\nsubscription = "s"\n')
    assert message == (
        "evalgauge.toml:6: [[azure]] 1: unknown key 'subscription'; did you mean 'subscription_id'?; "
        "evalgauge.toml:4: limits: unknown key 'run'; did you mean 'runs'?; "
        "evalgauge.toml:1: unknown key 'server'; see docs/configuration.md; "
        "evalgauge.toml:2: stall_after: '5x' is not a duration; write it as 30s, 10m, 1h30m or 7d"
    )
    message = refused(tmp_path, "\n".join(f"unknown_{number} = 1" for number in range(9)))
    assert message.endswith("; and 4 more")


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("EVALGAUGE_STALL_AFTER", "5x", "EVALGAUGE_STALL_AFTER: '5x' is not a duration"),
        ("EVALGAUGE_LIMITS__RUNS", "many", "EVALGAUGE_LIMITS__RUNS: should be a whole number"),
        ("EVALGAUGE_LIMITS__RUN", "5", "EVALGAUGE_LIMITS__RUN: unknown key 'run'; did you mean 'runs'?"),
        ("EVALGAUGE_AZURE", '[{"subscription_id"', "EVALGAUGE_AZURE is not valid JSON ("),
        ("EVALGAUGE_AZURE", '[{"id": "s"}]', "EVALGAUGE_AZURE: [[azure]] 1: unknown key 'id'"),
        ("EVALGAUGE_RESULTS", '["/a"', "EVALGAUGE_RESULTS: Expecting"),
    ],
)
def test_an_error_in_the_environment_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert refused(tmp_path, 'stall_after = "5m"').startswith(words)


def test_an_error_on_the_command_line_names_the_option(tmp_path: Path) -> None:
    message = refused(tmp_path, 'stall_after = "5m"', stall_after="5x")
    assert message.startswith("--stall-after: '5x' is not a duration")


def test_a_value_of_the_wrong_type_is_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "hunter2" not in refused(tmp_path, 'success_threshold = "hunter2"')
    assert "hunter2" not in refused(tmp_path, '[[azure]]\nsubscription_id = ["hunter2"]')
    assert "hunter2" not in refused(tmp_path, AZURE + 'base_url = "https://me:hunter2@host"')
    monkeypatch.setenv("EVALGAUGE_AZURE", '[{"subscription_id": "hunter2"')
    assert "hunter2" not in refused(tmp_path, "")


@pytest.mark.parametrize(
    ("start", "told"),
    [
        ('"2026-11-21T09:00:00Z"', "2026-11-21T09:00:00Z"),
        ("2026-11-21T09:00:00Z", "2026-11-21T09:00:00+00:00"),
        ("2026-11-21 09:00:00", "2026-11-21T09:00:00"),
        ("2026-11-21", "2026-11-21"),
    ],
)
def test_a_time_may_be_written_as_toml_has_it(tmp_path: Path, start: str, told: str) -> None:
    file = tmp_path / "evalgauge.toml"
    file.write_text(f"{MACHINE}start = {start}\n")
    assert load_config(file).machine[0].start == told


def test_paths_are_relative_to_the_file_or_to_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    file = tmp_path / "evalgauge.toml"
    file.write_text('results = ["runs", "/runs", "~/runs"]\n[prices]\ncache_dir = "~/cache"\n')
    config = load_config(file)
    assert config.results == (tmp_path / "runs", Path("/runs"), Path("/home/someone/runs"))
    assert config.prices.cache_dir == Path("/home/someone/cache")


def test_a_key_that_is_not_found_has_the_line_of_its_table() -> None:
    text = 'limits = { runs = 3 }\n[[probe]]\nname = "a"\n'
    assert find_line(text, ("limits", "runs")) == 1
    assert find_line(text, ("probe", 0, "kind")) == 2
    assert find_line(text, ("nowhere",)) is None
