"""One model call of a client of Anthropic or OpenAI: its provider, its usage and its end.

A response is an object, a stream of parts, or a raw response that is read later. Usage is taken from whatever passes,
and the call is recorded once, when nothing more can follow.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import re
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from evalgauge.integrations.llm.genai_spans import current_target
from evalgauge.model_names import infer_provider, resolve_answered_model
from evalgauge.usage import NOTHING, is_refusal

_EMBEDDINGS = "/embeddings"
_PATHS = (
    *("/messages", "/chat/completions", "/completions", "/responses", "/complete", _EMBEDDINGS),
    *("/images/generations", "/images/edits", "/audio/transcriptions", "/audio/translations", "/audio/speech"),
)
_NOT_CALLS = ("/threads/", "/uploads/")
"""Parts of OpenAI's paths that end like those above but call no model: a thread's messages, an upload's end."""
_HOSTS = {
    "api.anthropic.com": "anthropic",
    "api.openai.com": "openai",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral",
    "api.together.xyz": "together",
    "api.x.ai": "x-ai",
    "generativelanguage.googleapis.com": "google",
    "openrouter.ai": "openrouter",
}
_SUFFIXES = (
    (".openai.azure.com", "azure"),
    (".azure.com", "azure"),
    (".amazonaws.com", "aws"),
    ("aiplatform.googleapis.com", "google"),
    (".rep.googleapis.com", "google"),
    (".openai.com", "openai"),
    (".anthropic.com", "anthropic"),
)
_VERTEX_REGION = re.compile(
    r"([a-z]+-[a-z]+\d+)-aiplatform\.googleapis\.com|aiplatform\.([a-z]+)\.rep\.googleapis\.com"
)
"""Hosts of Vertex AI in one region, and in several of one jurisdiction."""
_VERTEX_SURCHARGED = re.compile(
    r"\b(?:claude-(?!(?:[123]|instant)\b|(?:opus|sonnet)-4(?:-[01])?(?:[@-]\d{8}|@|\Z))|gemini-(?![12]\b))"
)
"""Models whose global endpoint is cheaper than those of regions, by Google's prices of Vertex AI: Claude since 4.5, and
Gemini since 3."""
_RETRIEVAL = re.compile(r"/responses/[^/]+\Z")
_CLOSED_MAKERS = ("anthropic", "openai", "google", "x-ai")
"""Makers of models that only they and their resellers serve, at the makers' prices; open weights are served by many."""
_TOOL_CALLS = {
    "web_search_call": "web_search",
    "file_search_call": "file_search",
    "code_interpreter_call": "code_execution",
    "image_generation_call": "image_generation",
}
"""Items of a response's output that are billed by the piece."""
_recorded_responses: dict[str, None] = {}
"""Ids of background responses that were recorded, the oldest first: polling returns them again and again."""
_MAX_RESPONSES = 10_000


def is_call(options: Any) -> bool:
    """Whether a client's request is one model call: not a list, a batch, a token count or an upload."""
    path = _path(options)
    posted = _method(options) == "post"
    return posted and path.endswith(_PATHS) and not any(other in path for other in _NOT_CALLS)


def is_retrieval(options: Any) -> bool:
    """Whether a client's request retrieves a response, perhaps one that was created in the background."""
    return _method(options) == "get" and _RETRIEVAL.search(_path(options)) is not None


class Call:
    """A model call in progress, for the task in which it was made."""

    def __init__(self, package: str, client: Any, options: Any) -> None:
        body = getattr(options, "json_data", None)
        model = body.get("model") if isinstance(body, Mapping) else None
        self.model = model if isinstance(model, str) else None
        self._package = package
        self._client = client
        self._only_input = _path(options).endswith(_EMBEDDINGS)
        self._retrieval = is_retrieval(options)
        self._target = current_target()
        self._started_at = time.monotonic()
        self._usage: Any = None
        self._service_tier: str | None = None
        self._server_tools: dict[str, int] = {}
        self._background_id: str | None = None
        self._recorded = False
        self._client_reading = False
        """Whether the client is reading: a response that it closes then is not the end of the call."""

    @property
    def provider(self) -> str:
        """Who serves the call."""
        return _provider(self._package, self._client, self.model)

    def record(self, status: str = "ok") -> None:
        """Record the call, once."""
        if self._recorded:
            return
        self._recorded = True
        if self._is_counted_elsewhere(status):
            return
        if self._target is not None:
            usage = self._usage
            if self._only_input and isinstance(usage, dict):  # embeddings have no output
                usage = {"completion_tokens": 0, **usage}
            untimed = status == "retry" or self._retrieval
            self._target.llm_call(
                provider=self.provider,
                model=self.model,
                usage=usage,
                duration_seconds=None if untimed else round(time.monotonic() - self._started_at, 6),
                status=status,
                service_tier=self._service_tier,
                server_tools=self._server_tools or None,
                region=_region(self._client, self.model),
            )

    def _is_counted_elsewhere(self, status: str) -> bool:
        """Whether the call is counted elsewhere: a background response counts once, when its usage is retrieved."""
        if self._background_id is None:
            return self._retrieval
        if self._usage is None:
            return self._retrieval or status == "ok"
        if self._background_id in _recorded_responses:
            return True
        _recorded_responses[self._background_id] = None
        while len(_recorded_responses) > _MAX_RESPONSES:
            del _recorded_responses[next(iter(_recorded_responses))]
        return False

    def record_error(self, error: BaseException) -> None:
        """Record that the client raised; usage counts where only the parsing failed (``LengthFinishReasonError``)."""
        self.read_part(getattr(error, "completion", None))
        self.record_failure("error", getattr(error, "status_code", None))

    def record_failure(self, status: str, http_status: object) -> None:
        """Record a request that failed; one that was refused used nothing.

        Args:
            status: ``error``, or ``retry`` where it is sent again.
            http_status: The HTTP status of the answer; None without one.
        """
        if self._usage is None and is_refusal(http_status):
            self._usage = NOTHING
        self.record(status)

    def record_result(self, result: Any, *, stream: bool) -> None:
        """Record the client's result: a message, a stream of parts, or a raw response.

        Args:
            result: What the client's method returned.
            stream: Whether the call asked for a stream, whose usage comes with its last parts.
        """
        response = getattr(result, "http_response", None)
        if response is not None and callable(getattr(result, "parse", None)):
            self._follow_raw(result, response, stream=stream)
        elif stream and hasattr(result, "_iterator"):
            self._follow_stream(result)
        else:
            self.read_part(result)
            self.record()

    def _follow_raw(self, result: Any, response: Any, *, stream: bool) -> None:
        if stream:
            self._call_after(result, "parse", self._follow_stream)
            self._record_at_close(response)
            return
        try:
            content = response.content
        except Exception:  # the body is read later, if at all
            for name in ("read", "aread"):
                self._call_after(response, name, self._read_body)
            self._record_at_close(response)
        else:
            self._read_body(content)

    def _read_body(self, content: Any) -> None:
        with contextlib.suppress(ValueError, TypeError, RecursionError):  # not JSON: usage is unknown
            self.read_part(json.loads(content))
        self.record()

    def _follow_stream(self, stream: Any) -> None:
        """Read the parts of ``stream`` as they pass; the call ends with them, or when the reader stops."""
        parts = getattr(stream, "_iterator", None)
        if parts is not None:
            stream._iterator = self._iterate_async(parts) if hasattr(parts, "__anext__") else self._iterate(parts)
            weakref.finalize(stream, self.record)
            self._record_at_close(getattr(stream, "response", None))

    def _record_at_close(self, response: Any) -> None:
        """Record the call when the response is closed or deleted, even if it was not read to its end."""
        if response is not None:
            for name in ("close", "aclose"):
                self._call_after(response, name, self._record_closed)
            weakref.finalize(response, self.record)

    def _record_closed(self, _: object) -> None:
        if not self._client_reading:  # otherwise the client closes what it has read, or what failed
            self.record()

    def _call_after(self, owner: Any, name: str, then: Callable[[Any], None]) -> None:
        """Wrap a method of one object: pass its results to ``then``, which never raises."""
        method = getattr(owner, name, None)
        if method is None:
            return
        if inspect.iscoroutinefunction(method):

            @functools.wraps(method)
            async def wrapped_async(*args: Any, **kwargs: Any) -> Any:
                with self._reading():
                    answer = await method(*args, **kwargs)
                then(answer)
                return answer

            setattr(owner, name, wrapped_async)
            return

        @functools.wraps(method)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self._reading():
                answer = method(*args, **kwargs)
            then(answer)
            return answer

        setattr(owner, name, wrapped)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        before, self._client_reading = self._client_reading, True
        try:
            yield
        finally:
            self._client_reading = before

    @contextlib.contextmanager
    def _recording_end(self) -> Iterator[None]:
        """Record the call when its stream ends: as an error where it raised, as ok where the reader stopped."""
        status = "ok"
        self._client_reading = True
        try:
            yield
        except GeneratorExit:
            raise
        except BaseException:
            status = "error"
            raise
        finally:
            self.record(status)

    def _iterate(self, parts: Iterator[Any]) -> Iterator[Any]:
        with self._recording_end():
            for part in parts:
                self.read_part(part)
                self._client_reading = False
                yield part
                self._client_reading = True

    async def _iterate_async(self, parts: AsyncIterator[Any]) -> AsyncIterator[Any]:
        with self._recording_end():
            async for part in parts:
                self.read_part(part)
                self._client_reading = False
                yield part
                self._client_reading = True

    def read_part(self, part: Any) -> None:
        """Take the usage, the model's name and what else changes the price from a response or a part. Never raises."""
        with contextlib.suppress(Exception):
            choices = _get(part, "choices")  # Moonshot's last chunk has its usage in there
            parts = [part, *(_get(part, name) for name in ("message", "response", "x_groq"))]
            for inner in parts + (choices[:1] if isinstance(choices, list) else []):
                if inner is None:
                    continue
                model, usage = _get(inner, "model"), _get(inner, "usage")
                if isinstance(model, str):
                    self.model = resolve_answered_model(self.model, model)
                if isinstance(tier := _get(inner, "service_tier"), str):
                    self._service_tier = tier
                if _get(inner, "background") is True and isinstance(response_id := _get(inner, "id"), str):
                    self._background_id = response_id
                self._count_server_tools(_get(inner, "output"))
                if _get(_get(inner, "tool_usage"), "image_gen"):
                    self._server_tools.setdefault("image_generation", 1)
                if usage is not None:
                    counts = _to_dict(usage)
                    if counts is None or not isinstance(self._usage, dict):
                        self._usage = usage if counts is None else counts
                    else:
                        _keep_larger(self._usage, counts)

    def _count_server_tools(self, output: Any) -> None:
        counted: dict[str, int] = {}
        for item in output if isinstance(output, list) else ():
            tool = _TOOL_CALLS.get(str(_get(item, "type")))
            action = str(_get(_get(item, "action"), "type"))
            if tool is not None and action not in ("open_page", "find", "find_in_page"):  # these are free
                counted[tool] = counted.get(tool, 0) + 1
        _keep_larger(self._server_tools, counted)


def _keep_larger(counts: dict[str, Any], later: Mapping[str, Any]) -> None:
    """Merge the counts of a later part of a stream: they are cumulative, so the larger stands and a 0 erases none."""
    for name, value in later.items():
        before = counts.get(name)
        if isinstance(before, dict) and isinstance(value, Mapping):
            _keep_larger(before, value)
        elif isinstance(before, int | float) and isinstance(value, int | float):
            counts[name] = max(before, value)
        elif value is not None:
            counts[name] = value


def _get(part: Any, name: str) -> Any:
    return part.get(name) if isinstance(part, Mapping) else getattr(part, name, None)


def _to_dict(usage: Any) -> dict[str, Any] | None:
    if isinstance(usage, Mapping):
        return dict(usage)
    dump = getattr(usage, "model_dump", None) or getattr(usage, "dict", None)
    counts = dump() if callable(dump) else None
    return counts if isinstance(counts, dict) else None


def _method(options: Any) -> str:
    return str(getattr(options, "method", "")).lower()


def _path(options: Any) -> str:
    return str(getattr(options, "url", "")).partition("?")[0].rstrip("/")


def _region(client: Any, model: str | None) -> str | None:
    """Return the region of Vertex AI that serves a client; None where it changes no price of the model."""
    found = _VERTEX_REGION.fullmatch(_host(client))
    return found[1] or found[2] if found and _VERTEX_SURCHARGED.search(model or "") else None


def _host(client: Any) -> str:
    return urlsplit(str(getattr(client, "base_url", ""))).hostname or ""


def _provider(package: str, client: Any, model: str | None) -> str:
    """Return who serves the call: by the client's address, else by the model's name, else the address itself."""
    host = _host(client)
    known = _HOSTS.get(host) or next((name for suffix, name in _SUFFIXES if host.endswith(suffix)), None)
    if known is None and (maker := infer_provider(model)) in _CLOSED_MAKERS:
        known = maker  # behind a gateway, the model that answered states who is paid
    return known or (package if package == "anthropic" else host or package)
