"""Answers that are made once for all who ask at once, and never older than their question."""

import asyncio
import threading
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import httpx
import pytest

from evalgauge_exporter.web.app import create_app
from evalgauge_exporter.web.coalesce import RequestCoalescer
from tests.asynchronous import run
from tests.exporter.runs import exporter_of, small_run


class Made:
    """Counts how often something is made, each time when it is let go on."""

    def __init__(self) -> None:
        self.begun = 0
        self.go_on = threading.Semaphore(0)

    def __call__(self) -> int:
        self.begun += 1
        number = self.begun
        assert self.go_on.acquire(timeout=30)
        return number

    async def begins(self, number: int) -> None:
        while self.begun < number:
            await asyncio.sleep(0.001)


def test_a_request_during_a_computation_shares_the_next_one() -> None:
    async def asked() -> None:
        shared, made = RequestCoalescer(), Made()
        first = asyncio.create_task(shared.get("q", made))
        await made.begins(1)
        later = [asyncio.create_task(shared.get("q", made)) for _ in range(50)]
        await asyncio.sleep(0)  # each of them has asked
        made.go_on.release(2)
        assert await first == 1
        assert await asyncio.gather(*later) == [2] * 50
        assert made.begun == 2

    run(asked())


def test_other_questions_do_not_wait() -> None:
    async def asked() -> None:
        shared, slow = RequestCoalescer(), Made()
        first = asyncio.create_task(shared.get("slow", slow))
        await slow.begins(1)
        assert await shared.get("quick", lambda: 7) == 7
        slow.go_on.release()
        assert await first == 1

    run(asked())


def test_an_error_is_raised_for_all_who_share_the_result_and_for_nobody_after() -> None:
    async def asked() -> None:
        def fails() -> int:
            raise ValueError("no")

        shared = RequestCoalescer()
        answers = await asyncio.gather(*(shared.get("q", fails) for _ in range(3)), return_exceptions=True)
        assert [str(answer) for answer in answers] == ["no"] * 3
        assert await shared.get("q", lambda: 7) == 7

    run(asked())


def test_a_client_that_disconnects_does_not_cancel_the_result_of_the_others() -> None:
    async def asked() -> None:
        shared, made = RequestCoalescer(), Made()
        gone = asyncio.create_task(shared.get("q", made))
        stays = asyncio.create_task(shared.get("q", made))
        await made.begins(1)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        made.go_on.release()
        assert await stays == 1

    run(asked())


@pytest.mark.parametrize(
    "path", ["/metrics", "/api/benchmark/status", "/api/benchmark/costs", "/api/benchmark/workers"]
)
def test_fifty_concurrent_requests_compute_a_result_at_most_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    small_run(tmp_path, "r", outcomes="sfa")
    exporter = exporter_of(tmp_path)
    exporter.start()
    assert exporter.wait_ready(60)
    app, answer, all_asked = create_app(exporter), RequestCoalescer.get, threading.Event()
    asked, made = [], []

    async def asks(shared: RequestCoalescer, question: Hashable, make: Callable[[], Any]) -> Any:
        def counted() -> Any:
            made.append(question)
            assert all_asked.wait(30)
            return make()

        asked.append(question)
        if len(asked) == 50:
            all_asked.set()
        return await answer(shared, question, counted)

    async def fifty() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await asyncio.gather(*(client.get(path) for _ in range(50)))

    monkeypatch.setattr(RequestCoalescer, "get", asks)
    try:
        answers = run(fifty())
    finally:
        exporter.stop()
    assert [one.status_code for one in answers] == [200] * 50
    assert len(asked) == 50
    assert 1 <= len(made) <= 2
