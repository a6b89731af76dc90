"""Wrapping of the clients of Anthropic and OpenAI, so that model calls are counted without a change to the caller.

Both clients send everything (sync, async, streaming, beta, responses, raw responses) through one method, ``request``,
and their retries through another: these are wrapped, in whichever of the packages is installed. A call made in a
thread that a task started belongs to that task.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import thread as pool
from importlib import import_module
from types import TracebackType
from typing import Any, NamedTuple, Self

from evalgauge.integrations.llm.client_calls import Call, is_call, is_retrieval
from evalgauge.integrations.llm.genai_spans import is_wrapped_call, mark_current_span_counted
from evalgauge.tracker import Task, current_task

log = logging.getLogger("evalgauge")

CLIENTS = ("anthropic", "openai")
RETRIES = ("_sleep_for_retry", "_retry_request")
"""The clients' method that runs before a retry; the second name is that of openai before 1.55."""


class _Patch(NamedTuple):
    """A method that was replaced by a wrapper."""

    owner: Any
    name: str
    original: Any
    wrapper: Any


_lock = threading.Lock()
_users = 0
_patches: list[_Patch] = []


def capture() -> Capture:
    """Count the model calls of this process: as a context manager, or from ``start()`` to ``stop()``.

    Packages that are not installed are skipped; one that is imported later is counted too. May be nested.

    Returns:
        The capture, not started yet.
    """
    return Capture()


class Capture:
    """One use of the wrapped clients; the last one that stops unwraps them.

    A method that another library wrapped meanwhile stays as it is; our wrapper below it then does nothing.
    """

    def __init__(self) -> None:
        self._on = False

    def start(self) -> Self:
        """Start to count."""
        global _users
        with _lock:
            if not self._on:
                self._on = True
                _users += 1
                if _users == 1:
                    _wrap_clients()
        return self

    def stop(self) -> None:
        """Stop counting."""
        global _users
        with _lock:
            if self._on:
                self._on = False
                _users -= 1
                if _users == 0:
                    _unwrap_clients()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self.stop()


def _wrap_clients() -> None:
    for package in CLIENTS:
        try:
            client = import_module(f"{package}._base_client")
        except ModuleNotFoundError as error:
            if error.name != package:
                log.warning("unknown version of %s (%s); its model calls are not counted", package, error)
            continue
        except Exception:
            log.exception("%s cannot be imported; its model calls are not counted", package)
            continue
        for name, wrap in (("SyncAPIClient", _sync_request), ("AsyncAPIClient", _async_request)):
            kind: Any = getattr(client, name, None)
            if not _takes_options(kind, "request"):
                log.warning(
                    "unknown version of %s (%s.request); its model calls are not counted",
                    package,
                    name,
                )
                continue
            _patch(kind, "request", wrap(kind.request, package))
            retries = next((retry for retry in RETRIES if _takes_options(kind, retry)), None)
            if retries is None:
                log.warning(
                    "unknown version of %s (retries of %s); its retries are not counted",
                    package,
                    name,
                )
            else:
                _patch(kind, retries, _retry(getattr(kind, retries), package))
    _patch(pool.ThreadPoolExecutor, "submit", _submit(pool.ThreadPoolExecutor.submit))
    _patch(threading.Thread, "start", _start_thread(threading.Thread.start))


def _takes_options(kind: Any, name: str) -> bool:
    method = getattr(kind, name, None)
    return callable(method) and "options" in inspect.signature(method).parameters


def _patch(owner: Any, name: str, wrapper: Any) -> None:
    if any(patch.owner is owner and patch.name == name for patch in _patches):
        return  # still in place below another library's wrapper
    _patches.append(_Patch(owner, name, getattr(owner, name), wrapper))
    setattr(owner, name, wrapper)


def _unwrap_clients() -> None:
    wrapped_again = []
    while _patches:
        patch = _patches.pop()
        if getattr(patch.owner, patch.name) is patch.wrapper:
            setattr(patch.owner, patch.name, patch.original)
        else:
            wrapped_again.append(patch)
    _patches.extend(wrapped_again)


# -- the wrappers of the clients' methods


def _sync_request(request: Callable[..., Any], package: str) -> Callable[..., Any]:
    options_of = _options_of(request)

    @functools.wraps(request)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = _start_call(package, self, options_of(args, kwargs))
        if call is None:
            return request(self, *args, **kwargs)
        token = is_wrapped_call.set(True)
        try:
            result = request(self, *args, **kwargs)
        except BaseException as error:  # a cancelled call was made all the same
            call.record_error(error)
            raise
        finally:
            is_wrapped_call.reset(token)
        _record_result(call, result, stream=bool(kwargs.get("stream")))
        return result

    return wrapped


def _async_request(request: Callable[..., Any], package: str) -> Callable[..., Any]:
    options_of = _options_of(request)

    @functools.wraps(request)
    async def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = _start_call(package, self, options_of(args, kwargs))
        if call is None:
            return await request(self, *args, **kwargs)
        token = is_wrapped_call.set(True)
        try:
            result = await request(self, *args, **kwargs)
        except BaseException as error:
            call.record_error(error)
            raise
        finally:
            is_wrapped_call.reset(token)
        _record_result(call, result, stream=bool(kwargs.get("stream")))
        return result

    return wrapped


def _options_of(method: Callable[..., Any]) -> Callable[[tuple[Any, ...], Mapping[str, Any]], Any]:
    """Return a function that finds the request's options among the arguments of ``method``, without ``self``."""
    index = list(inspect.signature(method).parameters).index("options") - 1

    def find(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        return args[index] if index < len(args) else kwargs.get("options")

    return find


def _start_call(package: str, client: Any, options: Any) -> Call | None:
    try:
        if not _users or is_wrapped_call.get() or not (is_call(options) or is_retrieval(options)):
            return None
        mark_current_span_counted()
        return Call(package, client, options)
    except Exception:
        log.exception("a model call cannot be counted; it continues")
        return None


def _record_result(call: Call, result: Any, *, stream: bool) -> None:
    try:
        call.record_result(result, stream=stream)
    except Exception:
        log.exception("a model call cannot be counted; it continues")


def _retry(retry: Callable[..., Any], package: str) -> Callable[..., Any]:
    """Wrap a client's retry method: each use is a failed request that is sent again."""
    options_of = _options_of(retry)

    def record(client: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        with contextlib.suppress(Exception):
            options = options_of(args, kwargs)
            if _users and is_call(options):
                response = kwargs.get("response")
                Call(package, client, options).record_failure("retry", getattr(response, "status_code", None))

    if inspect.iscoroutinefunction(retry):

        @functools.wraps(retry)
        async def wrapped_async(self: Any, *args: Any, **kwargs: Any) -> Any:
            record(self, args, kwargs)
            return await retry(self, *args, **kwargs)

        return wrapped_async

    @functools.wraps(retry)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        record(self, args, kwargs)
        return retry(self, *args, **kwargs)

    return wrapped


# -- threads that a task starts


def _run_in_task(task: Task, work: Callable[..., Any]) -> Callable[..., Any]:
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
        task = current_task.get() if _users else None
        return submit(self, work if task is None else _run_in_task(task, work), *args, **kwargs)

    return wrapped


def _start_thread(start: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(start)
    def wrapped(self: threading.Thread) -> None:
        task = current_task.get() if _users else None
        # a pool's own threads outlive the task that started them; the work they are given is wrapped by _submit
        if task is not None and getattr(self, "_target", None) is not getattr(pool, "_worker", self):
            self.run = _run_in_task(task, self.run)  # type: ignore[method-assign]  # of this one thread alone
        start(self)

    return wrapped
