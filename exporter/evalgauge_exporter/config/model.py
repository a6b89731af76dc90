"""The configuration: ``evalgauge.toml``, environment variables and the command line, in rising order of precedence.

Every key can be set as an environment variable: ``EVALGAUGE_`` and the key in capitals, a table's keys behind two
underscores (``EVALGAUGE_STALL_AFTER=5m``, ``EVALGAUGE_LIMITS__RUNS=20``), lists as JSON.
"""

from __future__ import annotations

import os
import tomllib
from datetime import date
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
)
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from evalgauge.results_folders import parse_results_folders
from evalgauge_exporter.config import messages
from evalgauge_exporter.config.bucket_urls import parse_bucket_url
from evalgauge_exporter.config.durations import format_duration, parse_duration
from evalgauge_exporter.config.shard import Shard, parse_shard
from evalgauge_exporter.errors import ConfigError


def _seconds(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(f"{str(value).lower()} is not a duration; write it as 30s, 10m, 1h30m or 7d")
    return parse_duration(value) if isinstance(value, str) else value


def _linger(value: object) -> object:
    return None if value == "never" else _seconds(value)


def _folders(value: object) -> object:
    return parse_results_folders(value) if isinstance(value, str) else value


def _shard(value: object) -> object:
    return parse_shard(value) if isinstance(value, str) else value


def _iso_text(value: object) -> object:
    """Return a TOML date or time as ISO 8601 text; other values unchanged."""
    return value.isoformat() if isinstance(value, date) else value


def _web_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError("write it as https://host, without a user")
    return value


Duration = Annotated[
    float,
    BeforeValidator(_seconds),
    Field(ge=0, allow_inf_nan=False),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
]
PollInterval = Annotated[Duration, Field(ge=1)]
"""Interval between requests to another server, at least one second."""
Linger = Annotated[Annotated[float, Field(ge=0)] | None, BeforeValidator(_linger)]
IsoTime = Annotated[str, BeforeValidator(_iso_text)]
Name = Annotated[str, Field(min_length=1)]
Url = Annotated[str, AfterValidator(_web_address)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Prices(_Table):
    """Sources of prices."""

    overrides: Path | None = None
    """A TOML file with your own prices of models and machines, which take precedence (docs/numbers.md)."""
    azure_retail_url: Url = "https://prices.azure.com/api/retail/prices"
    """The Azure Retail Prices API."""
    cache_dir: Path | None = None
    """Folder in which Azure prices are cached for a day; the user's cache folder where it is not set."""


class Azure(_Table):
    """Virtual machines of an Azure subscription."""

    subscription_id: Name
    resource_groups: tuple[str, ...] = ()
    """Only these resource groups; all where none is named."""
    base_url: Url = "https://management.azure.com"
    """Azure Resource Manager; sovereign clouds have another address."""
    credential: Literal["default", "none"] = "default"
    """``default``: DefaultAzureCredential; ``none``: no sign-in, for a local server."""
    inventory_interval: PollInterval = 600.0
    """Interval between readings of sizes, tags and new machines."""
    status_interval: PollInterval = 60.0
    """Interval between readings of power states."""
    tags: tuple[str, ...] = ()
    """Names of the tags that may be exposed."""
    evaluation_tags: tuple[str, ...] = ()
    """``name`` or ``name=value``: only machines with one of them, or that a worker names, can cause alerts."""
    worker_tag: str | None = None
    """The tag whose value is the name of the worker on a machine."""
    scale_sets: bool = True
    """Whether the machines of uniform scale sets are read."""
    resource_graph: bool = False
    """Whether one query of the Azure Resource Graph replaces the lists (docs/azure.md)."""


class Aws(_Table):
    """EC2 instances of an AWS account."""

    profile: str | None = None
    """A profile of the AWS configuration; the default credentials where it is not set."""
    regions: tuple[Name, ...] = ()
    """Regions that are read; the default region where none is named."""
    endpoint_url: Url | None = None
    """Another address for all AWS requests: a proxy, or a local server."""
    status_interval: PollInterval = 60.0
    """Interval between readings of instances."""
    tags: tuple[str, ...] = ()
    """Names of the tags that may be exposed."""
    evaluation_tags: tuple[str, ...] = ()
    """``name`` or ``name=value``: only instances with one of them, or that a worker names, can cause alerts."""
    worker_tag: str | None = None
    """The tag whose value is the name of the worker on an instance."""
    group_tag: str | None = None
    """The tag whose value is the ``group`` of an instance; the region where it has none."""


class CloudPlugin(BaseModel):
    """An account at a cloud that a plug-in reads."""

    model_config = ConfigDict(extra="allow", frozen=True)

    kind: Name
    """The name of the plug-in; the other keys are the plug-in's."""


class AzureMl(_Table):
    """Jobs of an Azure ML workspace."""

    subscription_id: Name
    resource_group: Name
    workspace: Name
    base_url: Url = "https://management.azure.com"
    credential: Literal["default", "none"] = "default"
    interval: PollInterval = 60.0


class Probe(_Table):
    """A server that is probed."""

    name: Name
    kind: Literal["waa", "http", "tcp", "vnc"]
    target: str
    """``host:port``, or a URL for ``http``."""
    interval: Duration = 30.0
    timeout: Duration = Field(5.0, gt=0)


class Tunnel(_Table):
    """A tunnel to a machine, probed at its local port."""

    name: Name
    local_port: int = Field(ge=1, le=65535)
    remote: str


class Machine(_Table):
    """A machine of another cloud, or a GPU box, with its price."""

    name: Name
    provider: str
    instance_type: str
    hourly_rate_usd: float = Field(ge=0, allow_inf_nan=False)
    start: IsoTime
    """When billing began, ISO 8601."""
    stop: IsoTime | None = None
    """When billing stopped; it still bills where this is not set."""


class Storage(_Table):
    """Buckets among the results."""

    interval: PollInterval = 30.0
    """Interval between listings of what may have changed."""
    full_interval: PollInterval = 600.0
    """Interval between listings of everything."""
    max_bytes: int = Field(20_000_000_000, ge=1)
    """Bytes of the local copies of each bucket."""
    cache_dir: Path | None = None
    """Where the local copies are; the user's cache folder where it is not set."""


class LimitsTable(_Table):
    """Upper limits of what is exposed."""

    runs: int = Field(50, ge=0)
    running: int = Field(2000, ge=1)
    """Running runs; those that started first are exposed."""
    workers: int = Field(500, ge=0)
    domains: int = Field(100, ge=1)
    models: int = Field(20, ge=1)
    memory: ByteSize = Field(ByteSize(1 << 30), ge=64 << 20)
    """Resident memory beyond which runs are unloaded, such as ``1GiB``."""
    tags: tuple[str, ...] = ()
    """Names of the runs' tags that reach Prometheus."""


class Config(BaseSettings):
    """The configuration of the exporter."""

    model_config = SettingsConfigDict(
        env_prefix="EVALGAUGE_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )
    _file: ClassVar[dict[str, Any]] = {}

    results: Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_folders)] = ()
    """Folders with runs; in the environment as JSON, or separated as in PATH."""
    listen: str = "127.0.0.1:9909"
    """``host:port`` to listen on."""
    linger: Linger = None
    """How long a finished run stays exposed; ``never`` drops none."""
    stall_after: Duration = Field(600.0, gt=0)
    """Silence after which a run counts as stalled; longer than any step takes."""
    shard: Annotated[Shard | None, NoDecode, BeforeValidator(_shard)] = None
    """``K/N``: expose the K-th part of the runs, counted from 0, as one of N exporters of the same folders."""
    receive: Path | None = None
    """A folder for the logs that other machines send to /v1/logs; it needs ``token_file``."""
    token_file: Path | None = None
    """A file with the bearer token that protects everything but /healthz."""
    web_config_file: Path | None = None
    """TLS, client certificates and users, in the format of Prometheus' exporter-toolkit."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe messages that are logged."""
    log_format: Literal["text", "json"] = "text"
    """How messages are logged."""
    grafana_url: str | None = None
    """Address of Grafana, for links from the live page and the page of runs."""
    public_url: str | None = None
    """Address under which people reach this exporter; its host is accepted in the Host header."""
    success_threshold: float = Field(1.0, allow_inf_nan=False)
    """The score from which on a task counts as a success, where a format only gives scores."""
    scorer: str | dict[str, str] | None = None
    """The scorer whose score is the headline of attempts with several scores: one name, or ``benchmark`` = name.
    Without it, the headline is what the format says."""
    follow_links: bool = False
    """Whether links that lead out of the served folders are followed: whoever writes there can then publish any folder
    that the exporter may read."""
    probe_registries: bool = True
    """Whether the machines in OpenAdapt's registry files are probed."""
    baselines: dict[str, str] = Field(default_factory=dict)
    """``"benchmark/model"`` or ``"benchmark"`` = run id."""
    prices: Prices = Prices()
    storage: Storage = Storage()  # type: ignore[call-arg]  # the plugin does not see Field's positional default
    azure: tuple[Azure, ...] = ()
    azure_ml: tuple[AzureMl, ...] = ()
    aws: tuple[Aws, ...] = ()
    cloud: tuple[CloudPlugin, ...] = ()
    probe: tuple[Probe, ...] = ()
    tunnel: tuple[Tunnel, ...] = ()
    machine: tuple[Machine, ...] = ()
    limits: LimitsTable = LimitsTable()  # type: ignore[call-arg]  # the plugin does not see Field's positional default

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources in order of precedence: command line, environment, file."""
        return init_settings, env_settings, _FileSource(settings_cls, cls._file)

    @property
    def host(self) -> str:
        """Host part of ``listen``."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """Port part of ``listen``."""
        return int(self.listen.rpartition(":")[2])


class _FileSource(PydanticBaseSettingsSource):
    """The TOML file as a source of settings."""

    def __init__(self, settings: type[BaseSettings], content: dict[str, Any]) -> None:
        super().__init__(settings)
        self._content = content

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return self._content.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._content


def load_config(path: Path | None = None, **given: Any) -> Config:
    """Load the configuration.

    Args:
        path: The TOML file, None for none.
        **given: Values of the command line, None where an option was not used.

    Raises:
        ConfigError: The file can't be read or a value is invalid.
    """
    content: dict[str, Any] = {}
    text = ""
    if path is not None:
        try:
            text = path.read_text(encoding="utf-8-sig")
            content = tomllib.loads(text)
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror or error}; name an existing file with --config") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not valid TOML: {error}") from error
        content = _relative_to(path.parent, content)

    class _Config(Config):
        _file = content

    where = messages.ConfigSources(given, path, text)
    try:
        config = _Config(**{key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        raise ConfigError(messages.format_error(error, Config, where)) from error
    except SettingsError as error:
        raise ConfigError(messages.format_env_error(error)) from error
    host, _, port = config.listen.rpartition(":")
    if not host or not port.isdigit() or not 0 <= int(port) <= 65535:
        words = f"listen is {config.listen!r}; write it as host:port, e.g. 127.0.0.1:9909"
        raise ConfigError(messages.with_location(("listen",), where, words))
    seen = set()
    for number, azure in enumerate(config.azure):
        if azure.subscription_id.lower() in seen:  # each would treat the other's machines as deleted
            words = "this subscription is listed twice; name it once, with all its resource_groups"
            raise ConfigError(messages.with_location(("azure", number), where, f"[[azure]] {number + 1}: {words}"))
        seen.add(azure.subscription_id.lower())
    profiles = set()
    for number, aws in enumerate(config.aws):
        if aws.profile in profiles:
            words = "this profile is listed twice; name it once, with all its regions"
            raise ConfigError(messages.with_location(("aws", number), where, f"[[aws]] {number + 1}: {words}"))
        profiles.add(aws.profile)
    return config


def _relative_to(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a file with its paths made relative to the file's folder."""

    def absolute(value: object) -> object:
        if not isinstance(value, str) or parse_bucket_url(value) is not None:
            return value
        return str(folder / os.path.expanduser(value))

    changed = dict(content)
    for key in ("results", "receive", "token_file", "web_config_file"):
        if key in content:
            value = content[key]
            changed[key] = [absolute(item) for item in value] if isinstance(value, list) else absolute(value)
    prices = changed.get("prices")
    if isinstance(prices, dict):
        changed["prices"] = {
            key: absolute(value) if key in ("overrides", "cache_dir") else value for key, value in prices.items()
        }
    storage = changed.get("storage")
    if isinstance(storage, dict) and "cache_dir" in storage:
        changed["storage"] = {**storage, "cache_dir": absolute(storage["cache_dir"])}
    return changed
