"""Model calls counted at the clients of Anthropic and OpenAI, with no change to the code that makes them.

    from evalgauge.integrations import llm

    with llm.capture():
        ...  # every call is booked to the task whose ``with`` block it is made in

Both clients send everything (sync, async, streaming, beta, responses, raw responses) through one method,
``request``, which makes its retries by ``_sleep_for_retry``: these two are wrapped, in whichever of the packages is
installed. A call made in a thread that a task started belongs to that task. ``GenAiSpans`` counts the calls of
everything that OpenTelemetry instruments; a call that both see is counted once.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import logging
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import thread as pool
from importlib import import_module
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from evalgauge.integrations.genai_spans import GenAiSpans, calling, cover, target_of_calls
from evalgauge.tracker import Task, current_task

log = logging.getLogger("evalgauge")

__all__ = ["Capture", "GenAiSpans", "capture"]

CLIENTS = ("anthropic", "openai")
_PATHS = ("/messages", "/chat/completions", "/completions", "/responses", "/embeddings")
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

_lock = threading.Lock()
_users = 0
_before: list[tuple[Any, str, Any]] = []


def capture() -> Capture:
    """Count the model calls of this process: as a context manager, or from ``start()`` to ``stop()``.

    Packages that are not installed are left out; one that is imported later is counted too. May be nested.
    """
    return Capture()


class Capture:
    """One use of the wrapped clients; the last one that stops puts them back as they were."""

    def __init__(self) -> None:
        self._on = False

    def start(self) -> Self:
        """Begin to count."""
        global _users
        with _lock:
            if not self._on:
                self._on = True
                _users += 1
                if _users == 1:
                    _wrap_everything()
        return self

    def stop(self) -> None:
        """Count no more."""
        global _users
        with _lock:
            if self._on:
                self._on = False
                _users -= 1
                if _users == 0:
                    while _before:
                        owner, name, value = _before.pop()
                        setattr(owner, name, value)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self.stop()


def _wrap_everything() -> None:
    for package in CLIENTS:
        try:
            client = import_module(f"{package}._base_client")
        except ImportError:
            continue
        except Exception:
            log.exception("%s can't be imported; its model calls are not counted", package)
            continue
        for name, wrap in (("SyncAPIClient", _sync_request), ("AsyncAPIClient", _async_request)):
            kind = getattr(client, name, None)
            if kind is None or not callable(getattr(kind, "request", None)):
                log.warning("%s has no %s.request as it is known here; its model calls are not counted", package, name)
                continue
            _put(kind, "request", wrap(kind.request, package))
            if callable(getattr(kind, "_sleep_for_retry", None)):
                _put(kind, "_sleep_for_retry", _retry(kind._sleep_for_retry, package))
    _put(pool.ThreadPoolExecutor, "submit", _submit(pool.ThreadPoolExecutor.submit))
    _put(threading.Thread, "start", _start_thread(threading.Thread.start))


def _put(owner: Any, name: str, value: Any) -> None:
    _before.append((owner, name, vars(owner)[name] if name in vars(owner) else getattr(owner, name)))
    setattr(owner, name, value)


# -- one call


class _Call:
    """A model call that is under way."""

    def __init__(self, package: str, client: Any, options: Any) -> None:
        body = getattr(options, "json_data", None)
        model = body.get("model") if isinstance(body, Mapping) else None
        self.model = model if isinstance(model, str) else None
        self.provider = _provider(package, client, self.model)
        self._target = target_of_calls()
        self._began = time.monotonic()
        self._usage: Any = None
        self._booked = False

    def book(self, status: str = "ok") -> None:
        """Record the call, once."""
        if self._booked:
            return
        self._booked = True
        if self._target is not None:
            self._target.llm_call(
                provider=self.provider,
                model=self.model,
                usage=self._usage,
                duration_seconds=round(time.monotonic() - self._began, 6),
                status=status,
            )

    def returned(self, result: Any, *, stream: bool) -> None:
        """The client answers with ``result``: a message, a stream of its parts, or a raw response."""
        if hasattr(result, "http_response") and callable(getattr(result, "parse", None)):
            self._raw(result, stream=stream)
        elif stream and hasattr(result, "_iterator"):
            self.follow(result)
        else:
            self.see(result)
            self.book()

    def _raw(self, result: Any, *, stream: bool) -> None:
        if stream:
            parse = result.parse

            @functools.wraps(parse)
            def parsed(*args: Any, **kwargs: Any) -> Any:
                inner = parse(*args, **kwargs)
                if hasattr(inner, "_iterator"):
                    self.follow(inner)
                return inner

            result.parse = parsed
            weakref.finalize(result.http_response, self.book)
            return
        try:
            answer = json.loads(result.http_response.content)
        except Exception:  # the body is not read yet, or no JSON: what was used is not known
            answer = None
        self.see(answer)
        self.book()

    def follow(self, stream: Any) -> None:
        """Look at the parts of ``stream`` as they pass; the call ends when they do, or when nobody wants more."""
        parts = stream._iterator
        stream._iterator = self._each_later(parts) if hasattr(parts, "__anext__") else self._each(parts)
        weakref.finalize(stream, self.book)

    def _each(self, parts: Iterator[Any]) -> Iterator[Any]:
        status = "ok"
        try:
            for part in parts:
                self.see(part)
                yield part
        except Exception:
            status = "error"
            raise
        finally:
            self.book(status)

    async def _each_later(self, parts: AsyncIterator[Any]) -> AsyncIterator[Any]:
        status = "ok"
        try:
            async for part in parts:
                self.see(part)
                yield part
        except Exception:
            status = "error"
            raise
        finally:
            self.book(status)

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


def _counts(options: Any) -> bool:
    """Whether a request is one call of a model: not a list, a batch, a count of tokens or an upload."""
    if str(getattr(options, "method", "")).lower() != "post":
        return False
    return str(getattr(options, "url", "")).partition("?")[0].rstrip("/").endswith(_PATHS)


def _provider(package: str, client: Any, model: str | None) -> str:
    """Who serves the call: by the client's address, else by the model's name, else the address itself."""
    host = urlsplit(str(getattr(client, "base_url", ""))).hostname or ""
    known = _HOSTS.get(host) or next((name for suffix, name in _SUFFIXES if host.endswith(suffix)), None)
    known = known or next((name for prefix, name in _MODELS if (model or "").startswith(prefix)), None)
    return known or (package if package == "anthropic" else host or package)


# -- what is put around the clients' methods


def _sync_request(request: Callable[..., Any], package: str) -> Callable[..., Any]:
    @functools.wraps(request)
    def wrapped(self: Any, cast_to: Any, options: Any, *args: Any, **kwargs: Any) -> Any:
        call = _began(package, self, options)
        if call is None:
            return request(self, cast_to, options, *args, **kwargs)
        token = calling.set(True)
        try:
            result = request(self, cast_to, options, *args, **kwargs)
        except Exception:
            call.book("error")
            raise
        finally:
            calling.reset(token)
        _noted(call, result, stream=bool(kwargs.get("stream")))
        return result

    return wrapped


def _async_request(request: Callable[..., Any], package: str) -> Callable[..., Any]:
    @functools.wraps(request)
    async def wrapped(self: Any, cast_to: Any, options: Any, *args: Any, **kwargs: Any) -> Any:
        call = _began(package, self, options)
        if call is None:
            return await request(self, cast_to, options, *args, **kwargs)
        token = calling.set(True)
        try:
            result = await request(self, cast_to, options, *args, **kwargs)
        except Exception:
            call.book("error")
            raise
        finally:
            calling.reset(token)
        _noted(call, result, stream=bool(kwargs.get("stream")))
        return result

    return wrapped


def _began(package: str, client: Any, options: Any) -> _Call | None:
    try:
        if calling.get() or not _counts(options):
            return None
        cover()
        return _Call(package, client, options)
    except Exception:
        log.exception("a model call can't be counted; it goes on")
        return None


def _noted(call: _Call, result: Any, *, stream: bool) -> None:
    try:
        call.returned(result, stream=stream)
    except Exception:
        log.exception("a model call can't be counted; it goes on")


def _retry(sleep: Callable[..., Any], package: str) -> Callable[..., Any]:
    """Count a try whose answer was an error and that is made again."""

    def note(client: Any, options: Any) -> None:
        with contextlib.suppress(Exception):
            if _counts(options):
                _Call(package, client, options).book("retry")

    if inspect.iscoroutinefunction(sleep):

        @functools.wraps(sleep)
        async def later(self: Any, *args: Any, **kwargs: Any) -> Any:
            note(self, kwargs.get("options"))
            return await sleep(self, *args, **kwargs)

        return later

    @functools.wraps(sleep)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        note(self, kwargs.get("options"))
        return sleep(self, *args, **kwargs)

    return wrapped


# -- threads that a task starts


def _within(task: Task, work: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(work)
    def run(*args: Any, **kwargs: Any) -> Any:
        token = current_task.set(task)
        try:
            return work(*args, **kwargs)
        finally:
            current_task.reset(token)

    return run


def _submit(submit: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(submit)
    def wrapped(self: Any, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        task = current_task.get()
        return submit(self, work if task is None else _within(task, work), *args, **kwargs)

    return wrapped


def _start_thread(start: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(start)
    def wrapped(self: threading.Thread) -> None:
        task = current_task.get()
        # a pool's own threads outlive the task that happened to start them; what they are given is wrapped above
        if task is not None and getattr(self, "_target", None) is not getattr(pool, "_worker", self):
            self.run = _within(task, self.run)  # type: ignore[method-assign]
        start(self)

    return wrapped
