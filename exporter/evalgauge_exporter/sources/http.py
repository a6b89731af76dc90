"""HTTP requests with bounds: one deadline for the whole request, a limit on the size of an answer, no redirects.

The timeouts of an HTTP library hold for each read, so that an answer that drips in a byte at a time never ends. Here
the deadline covers everything: the name lookup, the connection, TLS, the head and the body.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from textwrap import shorten
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import urljoin, urlsplit

from evalgauge_exporter.errors import RefreshError
from evalgauge_exporter.sources.parsing import parse_json

if TYPE_CHECKING:
    import httpx

USER_AGENT = "evalgauge"
MAX_BYTES = 32_000_000
"""Bytes of one answer: a page of the longest list has about 3 MB."""
MAX_ROWS = 100_000
"""Rows of one list: more than any subscription has."""
MAX_DETAIL = 300
"""Characters of another service's message that are shown."""


class HttpAnswer(NamedTuple):
    """An HTTP answer.

    ``problem`` is None where the body is complete, else why it is not: ``timeout``, ``oversize`` or ``cut_off``.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    problem: str | None


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Return the TLS settings with the certificates that this machine trusts; reading them takes 20 ms.

    ``REQUESTS_CA_BUNDLE`` and ``AWS_CA_BUNDLE`` are trusted too, as azure-identity and boto3 do.
    """
    context = ssl.create_default_context()
    for name in ("REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"):
        if bundle := os.environ.get(name):
            context.load_verify_locations(bundle)
    return context


def create_client(*, proxies: bool = True) -> httpx.AsyncClient:
    """Return a client without timeouts and redirects of its own: `fetch` bounds each request.

    Args:
        proxies: Whether the environment's proxies (``HTTPS_PROXY``) are used.
    """
    import httpx  # here, since it takes longer to import than most commands take to run

    headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
    return httpx.AsyncClient(
        headers=headers, verify=tls_context(), timeout=None, follow_redirects=False, trust_env=proxies
    )


async def fetch(client: httpx.AsyncClient, request: httpx.Request, deadline: float, max_bytes: int) -> HttpAnswer:
    """Send a request and read its answer.

    Args:
        client: From `create_client`.
        request: What is sent.
        deadline: When reading ends, on the clock of the running event loop.
        max_bytes: How much of the body is read.

    Returns:
        The answer. Once the head has come, the body is what came of it by the deadline.

    Raises:
        TimeoutError: No head came by the deadline.
        httpx.HTTPError: No head came for another reason; `explain_error` words it.
    """
    import httpx

    async with asyncio.timeout_at(deadline):
        response = await client.send(request, stream=True)
    body = bytearray()
    problem: str | None = None
    try:
        async with asyncio.timeout_at(deadline):
            async for part in response.aiter_raw():
                body += part
                if len(body) > max_bytes:
                    problem = "oversize"
                    break
    except TimeoutError:
        problem = "timeout"
    except httpx.HTTPError:
        problem = "cut_off"
    finally:
        await response.aclose()
    return HttpAnswer(response.status_code, response.headers, bytes(body[:max_bytes]), problem)


def explain_error(error: BaseException) -> tuple[str, str]:
    """Return why there is no answer: a word for the ``reason`` label, and a few words for people."""
    import httpx

    if isinstance(error, TimeoutError):
        return "timeout", "no answer in time"
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return "unreachable", f"TLS: {cause.reason or cause}"
        if isinstance(cause, socket.gaierror):
            return "unreachable", "the name is not known"
        if isinstance(cause, ConnectionRefusedError):
            return "unreachable", "connection refused"
    if isinstance(error, httpx.RemoteProtocolError) and "disconnected" not in str(error):
        return "malformed", "it does not speak HTTP"
    if isinstance(error, (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)):
        return "unreachable", "closed without an HTTP answer"
    words = next((cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror), None)
    return "unreachable", (words or str(error) or type(error).__name__).lower()


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The innermost cause first: libraries wrap the operating system's error several times."""
    inner = error.__cause__ or error.__context__
    if inner is not None:
        yield from _causes(inner)
    for member in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        yield from _causes(member)
    yield error


def parse_retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that an answer asks to wait, None where it does not ask.

    Args:
        headers: Of the answer; names in any case where it is an `HttpAnswer`'s.
        now: Unix seconds, for a ``Retry-After`` that is a date (RFC 9110, 10.2.3).
    """
    milliseconds = headers.get("x-ms-retry-after-ms") or headers.get("retry-after-ms")
    value = headers.get("Retry-After") or headers.get("retry-after")
    try:
        if milliseconds:
            return max(0.0, float(milliseconds) / 1000.0)
        if not value:
            return None
        if value.strip().replace(".", "", 1).isdigit():
            return float(value)
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None


class HttpSession:
    """The requests of one refresh to one service, bounded together. Use it as a context manager, in one thread.

    Args:
        home: A URL of the service: no request, and so no token, goes to another origin (scheme, host and port). None
            allows every origin, for a library that signs each request for the host that it goes to.
        seconds: How long all requests may take together.
        request_seconds: How long one request may take.
        max_requests: How many requests there may be, empty pages included.
        authorize: Returns the value of the ``Authorization`` header; None sends none.
    """

    def __init__(
        self,
        home: str | None,
        *,
        seconds: float,
        request_seconds: float,
        max_requests: int,
        authorize: Callable[[], str] | None = None,
    ) -> None:
        self._origin = None if home is None else _parse_origin(home)
        self._seconds = seconds
        self._request_seconds = request_seconds
        self._left = max_requests
        self._max_requests = max_requests
        self._authorize = authorize
        self._runner = asyncio.Runner()
        self.skew = 0.0
        """Seconds that the service's clock is behind ours, by the ``Date`` header of its last answer."""

    def __enter__(self) -> Self:
        self._client = create_client()
        self._deadline = self._now() + self._seconds
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()

    def _now(self) -> float:
        return self._runner.get_loop().time()

    def send(
        self, what: str, method: str, url: str, headers: Mapping[str, str] | None = None, content: bytes | None = None
    ) -> HttpAnswer:
        """Send a request and return the answer, whatever its status.

        Raises:
            RefreshError: It would go elsewhere (``malformed``), there were too many (``endless``), or no complete
                answer came (``timeout``, ``unreachable``, ``malformed``). ``what`` is named in its message.
        """
        import httpx

        if self._origin is not None and _parse_origin(url) != self._origin:  # the token is for this host alone
            elsewhere = "://".join(map(str, _parse_origin(url)[:2]))
            raise RefreshError("malformed", f"{what}: the next page is said to be at another host, {elsewhere}")
        if self._left <= 0:
            raise RefreshError("endless", f"{what}: more than {self._max_requests} requests in one refresh")
        self._left -= 1
        given = dict(headers or {})
        if self._authorize is not None:
            given["Authorization"] = self._authorize()
        try:
            request = self._client.build_request(method, url, headers=given, content=content)
            deadline = min(self._deadline, self._now() + self._request_seconds)
            answer = self._runner.run(fetch(self._client, request, deadline, MAX_BYTES))
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            reason, words = explain_error(error)
            raise RefreshError(reason, f"{what}: {words}") from error
        if answer.problem == "timeout":
            raise RefreshError("timeout", f"{what}: no answer in time")
        if answer.problem is not None:
            words = "cut off" if answer.problem == "cut_off" else f"larger than {MAX_BYTES // 1_000_000} MB"
            raise RefreshError("malformed", f"{what}: the answer is {words}")
        self.skew = _measure_skew(answer.headers, time.time())
        return answer

    def post_json(self, what: str, url: str, body: object) -> HttpAnswer:
        """Send a JSON document, as `send`."""
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        return self.send(what, "POST", url, headers, json.dumps(body).encode())

    def get_pages(
        self,
        what: str,
        url: str,
        rows: str,
        next_page: str,
        on_answer: Callable[[HttpAnswer], object] | None = None,
        max_pages: int | None = None,
    ) -> Iterator[Any]:
        """Yield the rows of all pages of a list.

        Args:
            what: Named in messages.
            url: The first page.
            rows: The key under which a page has its rows.
            next_page: The key under which a page has the URL of the next one.
            on_answer: Called with each answer, for its headers.
            max_pages: Pages after which the rest is left out; None reads all.

        Raises:
            RefreshError: As `send`, and where a status is not 200 or an answer is no such list.
        """
        following: object = url
        seen = set()
        count = 0
        while following:
            url = urljoin(url, str(following))
            if url in seen:
                raise RefreshError("endless", f"{what}: the pages of the list lead in a circle")
            seen.add(url)
            answer = self.send(what, "GET", url, {"Accept": "application/json"})
            if on_answer is not None:
                on_answer(answer)
            page = read_json(answer, what)
            if not isinstance(page, Mapping) or not isinstance(page.get(rows), list):
                raise RefreshError("malformed", f"{what}: the answer has no list of {rows!r}")
            count += len(page[rows])
            if count > MAX_ROWS:
                raise RefreshError("endless", f"{what}: the list has more than {MAX_ROWS} rows")
            yield from page[rows]
            following = page.get(next_page) if len(seen) != max_pages else None


def read_json(answer: HttpAnswer, what: str) -> Any:
    """Return the JSON value of an answer.

    Raises:
        RefreshError: The status is not 200, with a reason for each kind of status; or the body is no JSON.
    """
    if answer.status == 200:
        try:
            return parse_json(answer.body)
        except ValueError as error:
            raise RefreshError("malformed", f"{what}: the answer is no JSON") from error
    wait = parse_retry_after(answer.headers, time.time())
    if answer.status == 429:
        asked = f"; asked to wait {wait:.0f} s" if wait else ""
        raise RefreshError("throttled", f"{what}: too many requests{asked}", wait)
    if answer.status == 401:
        raise RefreshError("signed_out", f"{what}: the token is not accepted (401)")
    if answer.status == 403:
        raise RefreshError("forbidden", f"{what}: the role does not allow it (403)")
    if answer.status == 404:
        raise RefreshError("not_found", f"{what}: not found (404); fix its names in the configuration")
    if answer.status >= 500:
        raise RefreshError("server_error", f"{what}: answers {answer.status}", wait)
    raise RefreshError("refused", f"{what}: answers {answer.status}: {_read_message(answer.body)}", wait)


def _measure_skew(headers: Mapping[str, str], now: float) -> float:
    """Seconds that the clock of an answer is behind; 0 where its header has no time."""
    try:
        return now - parsedate_to_datetime(headers.get("Date", "")).timestamp()
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _read_message(body: bytes) -> str:
    """What an error says in words, one line."""
    try:
        content = parse_json(body)
        text = str(content["error"]["message"])
    except (ValueError, KeyError, TypeError):
        text = body.decode("utf-8", "replace")
    return shorten(" ".join(text.split()), MAX_DETAIL, placeholder=" …")


def _parse_origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port; a URL that has none of them is at no place that is known."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return "", None, None
