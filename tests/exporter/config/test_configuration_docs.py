"""docs/configuration.md has every key with its default and its variable; docs/azure.md and docs/aws.md have a role."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel, ByteSize
from pydantic.fields import FieldInfo

from evalgauge.price_overrides import load_overrides
from evalgauge_exporter.config.durations import format_duration
from evalgauge_exporter.config.model import Config, load_config
from evalgauge_exporter.sources.aws import CALLS, name_right

DOCS = Path(__file__).parents[3] / "docs"
CONFIGURATION = (DOCS / "configuration.md").read_text(encoding="utf-8")
AZURE = (DOCS / "azure.md").read_text(encoding="utf-8")
AWS = (DOCS / "aws.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([a-z_.]+)` \| (.+?) \| (.+?) \| (.+) \|$", re.MULTILINE)


def keys() -> Iterator[tuple[str, FieldInfo, str]]:
    """Every key with its field and the words for its environment variable."""
    for name, field in Config.model_fields.items():
        table, many = table_of(field)
        variable = f"EVALGAUGE_{name.upper()}"
        if table is None:
            yield name, field, f"`{variable}`"
            continue
        for key, inner in table.model_fields.items():
            yield f"{name}.{key}", inner, f"in `{variable}`" if many else f"`{variable}__{key.upper()}`"


def table_of(field: FieldInfo) -> tuple[type[BaseModel] | None, bool]:
    """The table that a key holds, and whether it holds a list of them."""
    for candidate, many in ((field.annotation, False), *((inner, True) for inner in typing.get_args(field.annotation))):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate, many
    return None, False


def default(name: str, field: FieldInfo) -> str:
    """The default as the table writes it: as TOML, or a word."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if name == "linger" and value is None:
        return '`"never"`'
    if value is None:
        return "none"
    if "interval" in name or name in ("stall_after", "probe.timeout"):
        return f'`"{format_duration(value)}"`'
    if isinstance(value, ByteSize):
        return f'`"{value.human_readable().replace(".0", "")}"`'
    return f"`{json.dumps(value)}`"


ROWS = {found[0]: found[1:] for found in ROW.findall(CONFIGURATION)}


@pytest.mark.parametrize(("name", "field", "variable"), [pytest.param(*key, id=key[0]) for key in keys()])
def test_each_key_is_documented_with_its_default_and_its_variable(name: str, field: FieldInfo, variable: str) -> None:
    assert name in ROWS, f"docs/configuration.md has no row for {name}"
    told_default, told_variable, words = ROWS[name]
    assert (told_default, told_variable) == (default(name, field), variable)
    assert len(words) > 10


def test_every_documented_key_exists() -> None:
    assert set(ROWS) == {name for name, _, _ in keys()}


def test_the_examples_are_configurations(tmp_path: Path) -> None:
    for number, example in enumerate(re.findall(r"```toml\n(.*?)```", CONFIGURATION + AZURE + AWS, re.DOTALL)):
        file = tmp_path / f"{number}.toml"
        file.write_text(example)
        if "usd_per_hour" in example:
            assert load_overrides(file).machines
        else:
            config = load_config(file)
            assert config.azure or config.aws or config.cloud


def test_the_environment_is_read_as_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALGAUGE_LIMITS__RUNS", "7")
    monkeypatch.setenv("EVALGAUGE_STALL_AFTER", "5m")
    monkeypatch.setenv("EVALGAUGE_RESULTS", '["/runs"]')
    monkeypatch.setenv("EVALGAUGE_AZURE", '[{"subscription_id": "s"}]')
    config = load_config()
    assert (config.limits.runs, config.limits.models, config.stall_after) == (7, 20, 300.0)
    assert config.results == (Path("/runs"),)
    assert config.azure[0].subscription_id == "s"


VALUES = {
    "EVALGAUGE_RESULTS": "/runs:/more",
    "EVALGAUGE_LISTEN": "0.0.0.0:80",
    "EVALGAUGE_LINGER": "1h",
    "EVALGAUGE_STALL_AFTER": "5m",
    "EVALGAUGE_SHARD": "2/3",
    "EVALGAUGE_RECEIVE": "/in",
    "EVALGAUGE_TOKEN_FILE": "/token",
    "EVALGAUGE_GRAFANA_URL": "http://grafana",
    "EVALGAUGE_WEB_CONFIG_FILE": "/web.yml",
    "EVALGAUGE_LOG_LEVEL": "debug",
    "EVALGAUGE_LOG_FORMAT": "json",
    "EVALGAUGE_PUBLIC_URL": "http://evalgauge",
    "EVALGAUGE_SUCCESS_THRESHOLD": "0.5",
    "EVALGAUGE_SCORER": "match",
    "EVALGAUGE_FOLLOW_LINKS": "true",
    "EVALGAUGE_LIMITS__MEMORY": "2GiB",
    "EVALGAUGE_PROBE_REGISTRIES": "false",
    "EVALGAUGE_BASELINES": '{"waa": "r"}',
    "EVALGAUGE_PRICES__OVERRIDES": "/prices.toml",
    "EVALGAUGE_PRICES__AZURE_RETAIL_URL": "https://prices",
    "EVALGAUGE_PRICES__CACHE_DIR": "/cache",
    "EVALGAUGE_AZURE": '[{"subscription_id": "s", "resource_groups": ["g"], "base_url": "https://arm", "credential": '
    '"none", "inventory_interval": "5m", "status_interval": "30s", "tags": ["owner"], "evaluation_tags": ["a=b"], '
    '"worker_tag": "worker", "scale_sets": false, "resource_graph": true}]',
    "EVALGAUGE_AWS": '[{"profile": "p", "regions": ["us-east-1"], "endpoint_url": "https://aws", '
    '"status_interval": "2m", "tags": ["owner"], "evaluation_tags": ["a=b"], '
    '"worker_tag": "worker", "group_tag": "pool"}]',
    "EVALGAUGE_STORAGE__INTERVAL": "1m",
    "EVALGAUGE_STORAGE__FULL_INTERVAL": "1h",
    "EVALGAUGE_STORAGE__MAX_BYTES": "1000",
    "EVALGAUGE_STORAGE__CACHE_DIR": "/copies",
    "EVALGAUGE_CLOUD": '[{"kind": "k", "account": "a"}]',
    "EVALGAUGE_AZURE_ML": '[{"subscription_id": "s", "resource_group": "g", "workspace": "w", '
    '"base_url": "https://arm", "credential": "none", "interval": "30s"}]',
    "EVALGAUGE_PROBE": '[{"name": "p", "kind": "tcp", "target": "h:1", "interval": "1m", "timeout": "1s"}]',
    "EVALGAUGE_TUNNEL": '[{"name": "t", "local_port": 1, "remote": "h:1"}]',
    "EVALGAUGE_MACHINE": '[{"name": "m", "provider": "p", "instance_type": "i", "hourly_rate_usd": 1, '
    '"start": "2026-01-01", "stop": "2026-01-02"}]',
    "EVALGAUGE_LIMITS__RUNS": "1",
    "EVALGAUGE_LIMITS__RUNNING": "5",
    "EVALGAUGE_LIMITS__WORKERS": "2",
    "EVALGAUGE_LIMITS__DOMAINS": "3",
    "EVALGAUGE_LIMITS__MODELS": "4",
    "EVALGAUGE_LIMITS__TAGS": '["commit"]',
}


def test_every_key_can_be_set_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in VALUES.items():
        monkeypatch.setenv(variable, value)
    config = load_config()
    for name, field, variable in keys():
        assert variable.removeprefix("in ").strip("`") in VALUES
        table, _, key = name.partition(".")
        value = getattr(config, table)
        if key:
            value = getattr(value[0] if isinstance(value, tuple) else value, key)
        assert field.is_required() or value != field.get_default(call_default_factory=True), name


def test_the_role_may_only_read() -> None:
    (role,) = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", AZURE, re.DOTALL))
    assert role["Actions"]
    assert all(action.endswith("/read") and "*" not in action for action in role["Actions"])
    assert not role["DataActions"]


def test_the_policy_of_aws_has_what_is_called_and_nothing_else() -> None:
    (policy,) = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", AWS, re.DOTALL))
    (statement,) = policy["Statement"]
    assert statement["Effect"] == "Allow"
    assert set(statement["Action"]) == {name_right(service, operation) for service, operation, _, _ in CALLS}
