"""One model call of a client of Anthropic or OpenAI: who serves it, what it used, when it is over.

An answer comes as an object, as a stream of parts, or as a raw response that is read later: usage is taken out of
whatever passes, and the call is booked once, when nothing more can come.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from evalgauge.integrations.llm.genai_spans import target_of_calls

_EMBEDDINGS = "/embeddings"
_PATHS = ("/messages", "/chat/completions", "/completions", "/responses", "/complete", _EMBEDDINGS)
_OTHERS = ("/threads/", "/uploads/")
"""Within OpenAI's paths that end like those above and call no model: a message of a thread, the end of an upload."""
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
    (".openai.com", "openai"),
    (".anthropic.com", "anthropic"),
)
_MODELS = (("claude", "anthropic"), ("gpt", "openai"), ("chatgpt", "openai"), ("o1", "openai"), ("o3", "openai"))


def is_call(options: Any) -> bool:
    """Whether a client's request is one call of a model: not a list, a batch, a count of tokens or an upload."""
    path = _path(options)
    posted = str(getattr(options, "method", "")).lower() == "post"
    return posted and path.endswith(_PATHS) and not any(other in path for other in _OTHERS)


class Call:
    """A model call that is under way, for the task in which it was made."""

    def __init__(self, package: str, client: Any, options: Any) -> None:
        body = getattr(options, "json_data", None)
        model = body.get("model") if isinstance(body, Mapping) else None
        self.model = model if isinstance(model, str) else None
        self.provider = _provider(package, client, self.model)
        self._only_input = _path(options).endswith(_EMBEDDINGS)
        self._target = target_of_calls()
        self._began = time.monotonic()
        self._usage: Any = None
        self._booked = False
        self._busy = False
        """Whether the client is reading: what it then closes is not the end of the call."""

    def book(self, status: str = "ok") -> None:
        """Record the call, once."""
        if self._booked:
            return
        self._booked = True
        if self._target is not None:
            usage = self._usage
            if self._only_input and isinstance(usage, dict):  # there is no output, and nobody says so
                usage = {"completion_tokens": 0, **usage}
            self._target.llm_call(
                provider=self.provider,
                model=self.model,
                usage=usage,
                duration_seconds=None if status == "retry" else round(time.monotonic() - self._began, 6),
                status=status,
            )

    def failed(self, error: BaseException) -> None:
        """The client raised: an answer that only could not be parsed (OpenAI's ``LengthFinishReasonError``) counts."""
        self.see(getattr(error, "completion", None))
        self.book("error")

    def returned(self, result: Any, *, stream: bool) -> None:
        """The client answers with ``result``: a message, a stream of its parts, or a raw response."""
        response = getattr(result, "http_response", None)
        if response is not None and callable(getattr(result, "parse", None)):
            self._raw(result, response, stream=stream)
        elif stream and hasattr(result, "_iterator"):
            self._follow(result)
        else:
            self.see(result)
            self.book()

    def _raw(self, result: Any, response: Any, *, stream: bool) -> None:
        if stream:
            self._after(result, "parse", self._follow)
            self._end_with(response)
            return
        try:
            content = response.content
        except Exception:  # the body is read later, if at all
            for name in ("read", "aread"):
                self._after(response, name, self._read)
            self._end_with(response)
        else:
            self._read(content)

    def _read(self, content: Any) -> None:
        with contextlib.suppress(ValueError, TypeError, RecursionError):  # no JSON: what was used is not known
            self.see(json.loads(content))
        self.book()

    def _follow(self, stream: Any) -> None:
        """Look at the parts of ``stream`` as they pass; the call ends when they do, or when nobody wants more."""
        parts = getattr(stream, "_iterator", None)
        if parts is not None:
            stream._iterator = self._each_later(parts) if hasattr(parts, "__anext__") else self._each(parts)
            weakref.finalize(stream, self.book)
            self._end_with(getattr(stream, "response", None))

    def _end_with(self, response: Any) -> None:
        """Book the call when the response is closed or gone, though not all of it was wanted."""
        if response is not None:
            for name in ("close", "aclose"):
                self._after(response, name, self._closed)
            weakref.finalize(response, self.book)

    def _closed(self, _: object) -> None:
        if not self._busy:  # else it is the client that closes what it has read, or what broke
            self.book()

    def _after(self, owner: Any, name: str, then: Callable[[Any], None]) -> None:
        """Tell ``then``, which never raises, what a method of one object returns."""
        method = getattr(owner, name, None)
        if method is None:
            return
        if inspect.iscoroutinefunction(method):

            @functools.wraps(method)
            async def told_later(*args: Any, **kwargs: Any) -> Any:
                with self._reading():
                    answer = await method(*args, **kwargs)
                then(answer)
                return answer

            setattr(owner, name, told_later)
            return

        @functools.wraps(method)
        def told(*args: Any, **kwargs: Any) -> Any:
            with self._reading():
                answer = method(*args, **kwargs)
            then(answer)
            return answer

        setattr(owner, name, told)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        before, self._busy = self._busy, True
        try:
            yield
        finally:
            self._busy = before

    @contextlib.contextmanager
    def _booked_at_the_end(self) -> Iterator[None]:
        """Of a stream's parts: an error ends the call as one, a reader who wants no more does not."""
        status = "ok"
        self._busy = True
        try:
            yield
        except GeneratorExit:
            raise
        except BaseException:
            status = "error"
            raise
        finally:
            self.book(status)

    def _each(self, parts: Iterator[Any]) -> Iterator[Any]:
        with self._booked_at_the_end():
            for part in parts:
                self.see(part)
                self._busy = False
                yield part
                self._busy = True

    async def _each_later(self, parts: AsyncIterator[Any]) -> AsyncIterator[Any]:
        with self._booked_at_the_end():
            async for part in parts:
                self.see(part)
                self._busy = False
                yield part
                self._busy = True

    def see(self, part: Any) -> None:
        """Take the usage and the model's name out of an answer, or of a part of one. Never raises."""
        with contextlib.suppress(Exception):
            for inner in (part, _of(part, "message"), _of(part, "response")):  # Anthropic's and OpenAI's events
                if inner is None:
                    continue
                model, usage = _of(inner, "model"), _of(inner, "usage")
                if isinstance(model, str) and model:
                    self.model = model
                if usage is not None:
                    told = _mapping(usage)
                    if told is None or not isinstance(self._usage, dict):
                        self._usage = usage if told is None else told
                    else:  # a later part tells the output, and repeats or leaves out the input
                        self._usage.update({name: count for name, count in told.items() if count is not None})


def _of(part: Any, name: str) -> Any:
    return part.get(name) if isinstance(part, Mapping) else getattr(part, name, None)


def _mapping(usage: Any) -> dict[str, Any] | None:
    if isinstance(usage, Mapping):
        return dict(usage)
    dump = getattr(usage, "model_dump", None) or getattr(usage, "dict", None)
    told = dump() if callable(dump) else None
    return told if isinstance(told, dict) else None


def _path(options: Any) -> str:
    return str(getattr(options, "url", "")).partition("?")[0].rstrip("/")


def _provider(package: str, client: Any, model: str | None) -> str:
    """Who serves the call: by the client's address, else by the model's name, else the address itself."""
    host = urlsplit(str(getattr(client, "base_url", ""))).hostname or ""
    known = _HOSTS.get(host) or next((name for suffix, name in _SUFFIXES if host.endswith(suffix)), None)
    known = known or next((name for prefix, name in _MODELS if (model or "").startswith(prefix)), None)
    return known or (package if package == "anthropic" else host or package)
