"""Azure Resource Manager: signing in, and requests that go to the configured host alone.

The lists are read over `HttpSession` rather than the management SDK, which bounds neither an answer's size nor the time
of a refresh, and sends its token to whatever host a page names as the next. Signing in is azure-identity's, which is
imported in the source's thread when it is needed: it takes a second.
"""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlencode

from evalgauge_exporter.errors import RefreshError
from evalgauge_exporter.sources.http import MAX_DETAIL, HttpSession
from evalgauge_exporter.sources.parsing import parse_json

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

REQUEST_SECONDS = 60.0
REFRESH_SECONDS = 180.0
MAX_REQUESTS = 500
"""Requests of one refresh, empty pages included: 500 pages have some 50,000 machines."""
EXTRA = "install the Azure packages with: pip install 'evalgauge[azure]'"

_LEFT = "x-ms-ratelimit-remaining-"
_BUCKET = re.compile(r"\s*([^;,\s]+)\s*;\s*(\d+)\s*")
_WAY = re.compile(
    r"^\s*((?:Environment|ManagedIdentity|AzureCli)Credential): (?:\1 (?:authentication unavailable\. )?)?([^.\n]+)",
    re.M,
)
"""What DefaultAzureCredential reports of the ways to sign in that docs/azure.md has, among a dozen others."""


class ArmClient:
    """Access to one Resource Manager, for the life of a source.

    Args:
        base_url: Its address.
        kind: ``default`` signs in with DefaultAzureCredential, ``none`` sends no token, for a local server.
    """

    def __init__(self, base_url: str, kind: Literal["default", "none"]) -> None:
        self.base_url = base_url.rstrip("/")
        self._kind = kind
        self._credential: TokenCredential | None = None

    def open(self) -> HttpSession:
        """Return the session of one refresh: bounded, and with a token for this host alone."""
        return HttpSession(
            self.base_url,
            seconds=REFRESH_SECONDS,
            request_seconds=REQUEST_SECONDS,
            max_requests=MAX_REQUESTS,
            authorize=None if self._kind == "none" else lambda: f"Bearer {self.get_token()}",
        )

    def build_url(self, path: str, **query: str) -> str:
        """Return the URL of a path, whose parts are quoted already."""
        return f"{self.base_url}{path}?{urlencode(query)}"

    def get_token(self) -> str:
        """Return a token for this Resource Manager; azure-identity caches it until it expires.

        Raises:
            RefreshError: azure-identity is not installed (``not_installed``), or no way to sign in works
                (``signed_out``).
        """
        # every way to sign in that is not set up would be a warning in the log otherwise
        logging.getLogger("azure").setLevel(logging.WARNING)
        logging.getLogger("azure.identity").setLevel(logging.ERROR)
        try:
            from azure.identity import DefaultAzureCredential
        except ImportError as error:
            raise RefreshError("not_installed", f"{error.name} is not installed; {EXTRA}") from error
        if self._credential is None:
            self._credential = DefaultAzureCredential()
        try:
            return self._credential.get_token(f"{self.base_url}/.default").token
        except Exception as error:  # each way to sign in has errors of its own
            message = str(getattr(error, "message", "") or error)
            ways = "; ".join(f"{way}: {words}" for way, words in dict(_WAY.findall(message)).items())
            line = ways or shorten(" ".join(message.split()), MAX_DETAIL, placeholder=" …")
            raise RefreshError("signed_out", f"signing in to Azure failed; see docs/azure.md. {line}") from error

    def identify(self) -> str:
        """Return who is signed in, by the claims of the token. Raises RefreshError."""
        if self._kind == "none":
            return "no sign-in is needed"
        claims: Mapping[str, Any] = {}
        try:
            payload = self.get_token().split(".")[1]
            content = parse_json(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            claims = content if isinstance(content, Mapping) else {}
        except (ValueError, IndexError):
            pass  # a token is opaque to its bearer; its claims are shown where they can be read
        who = next((str(claims[name]) for name in ("upn", "unique_name", "xms_mirid", "appid") if name in claims), None)
        return f"signed in as {who[:MAX_DETAIL]}" if who else "a token was given"


def quote_part(text: str) -> str:
    """Return a name as a part of a URL's path."""
    return quote(text, safe="")


def name_right(action: str) -> Callable[[RefreshError], RefreshError]:
    """Return a function that adds the missing right to an error of kind ``forbidden`` or ``signed_out``."""

    def add(error: RefreshError) -> RefreshError:
        if error.reason == "forbidden":
            return RefreshError(error.reason, f"{error.detail}: it needs {action}; see docs/azure.md")
        if error.reason == "signed_out" and "docs" not in error.detail:
            return RefreshError(error.reason, f"{error.detail}; see docs/azure.md")
        return error

    return add


def parse_rate_limits(headers: Mapping[str, str]) -> dict[str, int]:
    """Return how many more requests Azure accepts, by bucket, from the headers of an answer.

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


def parse_time(value: object) -> float | None:
    """Return the Unix seconds of a time in ISO 8601 as ARM writes it, None for anything else."""
    if not isinstance(value, str):
        return None
    text = re.sub(r"(\.\d{6})\d+", r"\1", value.strip())  # ARM gives seven digits, Python takes six
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
