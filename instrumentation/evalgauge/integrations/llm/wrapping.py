"""Model calls counted at the clients of Anthropic and OpenAI, with no change to the code that makes them.

    from evalgauge.integrations import llm

    with llm.capture():
        ...  # every call is booked to the task whose ``with`` block it is made in

Both clients send everything (sync, async, streaming, beta, responses, raw responses) through one method,
``request``, and make their retries by another: these are wrapped, in whichever of the packages is installed. A call
made in a thread that a task started belongs to that task. ``GenAiSpans`` counts the calls of everything that
OpenTelemetry instruments; a call that both see is counted once.
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

from evalgauge.integrations.llm.client_calls import Call, is_call
from evalgauge.integrations.llm.genai_spans import calling, cover
from evalgauge.tracker import Task, current_task

log = logging.getLogger("evalgauge")

CLIENTS = ("anthropic", "openai")
RETRIES = ("_sleep_for_retry", "_retry_request")
"""The clients' method that a failed try goes through before the next one; the second is that of openai before 1.55."""


class _Placed(NamedTuple):
    """A method that ours stands in for."""

    owner: Any
    name: str
    before: Any
    ours: Any


_lock = threading.Lock()
_users = 0
_placed: list[_Placed] = []


def capture() -> Capture:
    """Count the model calls of this process: as a context manager, or from ``start()`` to ``stop()``.

    Packages that are not installed are left out; one that is imported later is counted too. May be nested.
    """
    return Capture()


class Capture:
    """One use of the wrapped clients; the last one that stops puts them back as they were.

    What somebody else wrapped meanwhile stays: ours beneath it then does nothing.
    """

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
                    _put_back()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self.stop()


def _wrap_everything() -> None:
    for package in CLIENTS:
        try:
            client = import_module(f"{package}._base_client")
        except ModuleNotFoundError as error:
            if error.name != package:
                log.warning(
                    "this version of %s is not known here (%s); its model calls are not counted", package, error
                )
            continue
        except Exception:
            log.exception("%s can't be imported; its model calls are not counted", package)
            continue
        for name, wrap in (("SyncAPIClient", _sync_request), ("AsyncAPIClient", _async_request)):
            kind: Any = getattr(client, name, None)
            if not _takes_options(kind, "request"):
                log.warning("%s has no %s.request as it is known here; its model calls are not counted", package, name)
                continue
            _put(kind, "request", wrap(kind.request, package))
            retries = next((retry for retry in RETRIES if _takes_options(kind, retry)), None)
            if retries is None:
                log.warning("%s has no retries of %s as they are known here; they are not counted", package, name)
            else:
                _put(kind, retries, _retry(getattr(kind, retries), package))
    _put(pool.ThreadPoolExecutor, "submit", _submit(pool.ThreadPoolExecutor.submit))
    _put(threading.Thread, "start", _start_thread(threading.Thread.start))


def _takes_options(kind: Any, name: str) -> bool:
    method = getattr(kind, name, None)
    return callable(method) and "options" in inspect.signature(method).parameters


def _put(owner: Any, name: str, ours: Any) -> None:
    if any(placed.owner is owner and placed.name == name for placed in _placed):
        return  # still beneath what somebody else has put there
    _placed.append(_Placed(owner, name, getattr(owner, name), ours))
    setattr(owner, name, ours)


def _put_back() -> None:
    covered = []
    while _placed:
        placed = _placed.pop()
        if getattr(placed.owner, placed.name) is placed.ours:
            setattr(placed.owner, placed.name, placed.before)
        else:
            covered.append(placed)
    _placed.extend(covered)


# -- what is put around the clients' methods


def _sync_request(request: Callable[..., Any], package: str) -> Callable[..., Any]:
    options_of = _options_of(request)

    @functools.wraps(request)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = _began(package, self, options_of(args, kwargs))
        if call is None:
            return request(self, *args, **kwargs)
        token = calling.set(True)
        try:
            result = request(self, *args, **kwargs)
        except BaseException as error:  # whoever stops waiting has made the call all the same
            call.failed(error)
            raise
        finally:
            calling.reset(token)
        _noted(call, result, stream=bool(kwargs.get("stream")))
        return result

    return wrapped


def _async_request(request: Callable[..., Any], package: str) -> Callable[..., Any]:
    options_of = _options_of(request)

    @functools.wraps(request)
    async def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = _began(package, self, options_of(args, kwargs))
        if call is None:
            return await request(self, *args, **kwargs)
        token = calling.set(True)
        try:
            result = await request(self, *args, **kwargs)
        except BaseException as error:
            call.failed(error)
            raise
        finally:
            calling.reset(token)
        _noted(call, result, stream=bool(kwargs.get("stream")))
        return result

    return wrapped


def _options_of(method: Callable[..., Any]) -> Callable[[tuple[Any, ...], Mapping[str, Any]], Any]:
    """How to find the request's options among what ``method`` is called with, apart from its object."""
    place = list(inspect.signature(method).parameters).index("options") - 1

    def find(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        return args[place] if place < len(args) else kwargs.get("options")

    return find


def _began(package: str, client: Any, options: Any) -> Call | None:
    try:
        if not _users or calling.get() or not is_call(options):
            return None
        cover()
        return Call(package, client, options)
    except Exception:
        log.exception("a model call can't be counted; it goes on")
        return None


def _noted(call: Call, result: Any, *, stream: bool) -> None:
    try:
        call.returned(result, stream=stream)
    except Exception:
        log.exception("a model call can't be counted; it goes on")


def _retry(retry: Callable[..., Any], package: str) -> Callable[..., Any]:
    """Count a try whose answer was an error and that is made again."""
    options_of = _options_of(retry)

    def note(client: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        with contextlib.suppress(Exception):
            options = options_of(args, kwargs)
            if _users and is_call(options):
                Call(package, client, options).book("retry")

    if inspect.iscoroutinefunction(retry):

        @functools.wraps(retry)
        async def later(self: Any, *args: Any, **kwargs: Any) -> Any:
            note(self, args, kwargs)
            return await retry(self, *args, **kwargs)

        return later

    @functools.wraps(retry)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        note(self, args, kwargs)
        return retry(self, *args, **kwargs)

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
        task = current_task.get() if _users else None
        return submit(self, work if task is None else _within(task, work), *args, **kwargs)

    return wrapped


def _start_thread(start: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(start)
    def wrapped(self: threading.Thread) -> None:
        task = current_task.get() if _users else None
        # a pool's own threads outlive the task that happened to start them; what they are given is wrapped above
        if task is not None and getattr(self, "_target", None) is not getattr(pool, "_worker", self):
            self.run = _within(task, self.run)  # type: ignore[method-assign]  # of this one thread alone
        start(self)

    return wrapped
