"""Azure Resource Manager: signing in, how long to wait for it, and what its errors mean.

The Azure packages are imported when the first client is made, in the thread of the source that needs it: that takes
two seconds, and only those who configured Azure need them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Literal

from evalgauge_exporter.errors import RefreshError
from evalgauge_exporter.sources.http import parse_retry_after

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, TokenCredential

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
EXTRA = "install the Azure packages with: pip install 'evalgauge[azure]'"

MAX_WORDS = 300
"""Letters of another's error that are shown."""

_LEFT = "x-ms-ratelimit-remaining-"
_BUCKET = re.compile(r"\s*([^;,\s]+)\s*;\s*(\d+)\s*")
_WAY = re.compile(
    r"^\s*((?:Environment|ManagedIdentity|AzureCli)Credential): (?:\1 (?:authentication unavailable\. )?)?([^.\n]+)",
    re.M,
)
"""What DefaultAzureCredential says of the ways to sign in that docs/azure.md has, among a dozen others."""


class _NoCredential:
    """Stands for the sign-in where there is none: a local server that asks for no token."""

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        from azure.core.credentials import AccessToken

        return AccessToken("none", 4_102_444_800)


def credential(kind: Literal["default", "none"]) -> TokenCredential:
    """The sign-in. Raises RefreshError where the package for it is not installed."""
    # every request would be a line in the log otherwise, and every way to sign in that is not set up a warning
    logging.getLogger("azure").setLevel(logging.WARNING)
    logging.getLogger("azure.identity").setLevel(logging.ERROR)
    if kind == "none":
        return _NoCredential()
    try:
        from azure.identity import DefaultAzureCredential
    except ImportError as error:
        raise RefreshError("not_installed", f"{error.name} is not installed; {EXTRA}") from error
    return DefaultAzureCredential()


def scopes(base_url: str) -> list[str]:
    """What a token is asked for: everything at this Resource Manager."""
    return [f"{base_url.rstrip('/')}/.default"]


def client_options(kind: Literal["default", "none"], base_url: str) -> dict[str, Any]:
    """What every client is made with: no retries of its own (the source waits instead), short timeouts."""
    options: dict[str, Any] = {
        "credential_scopes": scopes(base_url),
        "retry_total": 0,
        "connection_timeout": CONNECT_SECONDS,
        "read_timeout": READ_SECONDS,
    }
    if kind == "none":
        from azure.core.pipeline.policies import SansIOHTTPPolicy

        options["authentication_policy"] = SansIOHTTPPolicy()  # type: ignore[no-untyped-call,unused-ignore]  # typed in some releases of azure-core only
    return options


def parse_rate_limits(headers: Mapping[str, str]) -> dict[str, int]:
    """Requests that Azure would still take, by bucket, as an answer's headers tell.

    https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling
    """
    left: dict[str, int] = {}
    for name, value in headers.items():
        name = name.lower()
        if not name.startswith(_LEFT):
            continue
        if value.strip().isdigit():
            left[name.removeprefix(_LEFT)] = int(value)
        else:
            left.update((bucket, int(count)) for bucket, count in _BUCKET.findall(value))
    return left


def classify_error(error: Exception, what: str, now: float) -> RefreshError:
    """What an error of the Azure packages means; ``what`` says what was asked for."""
    from azure.core import exceptions as azure

    if isinstance(error, RefreshError):
        return error
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    message = str(getattr(error, "message", "") or error)
    line = shorten(" ".join(message.split()), MAX_WORDS, placeholder=" …")
    if isinstance(status, int) and not isinstance(error, azure.DecodeError):
        return _status_failure(status, dict(response.headers) if response is not None else {}, what, line, now)
    if isinstance(error, azure.ClientAuthenticationError):
        ways = "; ".join(f"{way}: {words}" for way, words in dict(_WAY.findall(message)).items())
        return RefreshError("signed_out", f"{what}: signing in failed; see docs/azure.md. {ways or line}")
    if isinstance(error, (azure.ServiceResponseTimeoutError, azure.ServiceRequestTimeoutError)):
        return RefreshError("timeout", f"{what}: no answer in time")
    if isinstance(error, (azure.ServiceRequestError, azure.ServiceResponseError)):
        timed_out = "timed out" in line.lower()
        return RefreshError("timeout" if timed_out else "unreachable", f"{what}: {line}")
    if isinstance(error, (azure.DecodeError, AttributeError, TypeError, ValueError, KeyError)):
        return RefreshError("malformed", f"{what}: the answer is not what it should be: {line}")
    return RefreshError("error", f"{what}: {type(error).__name__}: {line}")


def _status_failure(status: int, headers: Mapping[str, str], what: str, line: str, now: float) -> RefreshError:
    wait = parse_retry_after(headers, now)
    if status == 429:
        asked = f"; asked to wait {wait:.0f} s" if wait else ""
        return RefreshError("throttled", f"{what}: too many requests{asked}", wait)
    if status == 401:
        return RefreshError("signed_out", f"{what}: the token is not accepted (401); see docs/azure.md")
    if status == 403:
        return RefreshError("forbidden", f"{what}: the role does not allow it (403); see docs/azure.md")
    if status == 404:
        return RefreshError("not_found", f"{what}: there is no such thing (404); fix its names in the configuration")
    if status >= 500:
        return RefreshError("server_error", f"{what}: answers {status}", wait)
    return RefreshError("refused", f"{what}: answers {status}: {line}", wait)


def unix_time(value: object) -> float | None:
    """Unix seconds of a time as the packages give it: a datetime, or ISO 8601 as ARM writes it."""
    if isinstance(value, str):
        text = re.sub(r"(\.\d{6})\d+", r"\1", value.strip())  # ARM gives seven digits, Python takes six
        try:
            value = datetime.fromisoformat(text)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return (value if value.tzinfo is not None else value.replace(tzinfo=UTC)).timestamp()
