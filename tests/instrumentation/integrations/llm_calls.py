"""Makes model calls with the real clients against a local server, each kind in a task of its own; see test_llm.

Run by the Python of an environment that has them: ``python llm_calls.py RESULTS``. Prints what each call answered.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from evalgauge import track_run
from evalgauge.integrations import llm

model_server: Any = importlib.import_module("model_server")
anthropic: Any = importlib.import_module("anthropic")
openai: Any = importlib.import_module("openai")

CLAUDE: dict[str, Any] = {
    "model": "claude-of-the-test",
    "max_tokens": 9,
    "messages": [{"role": "user", "content": "x"}],
}
GPT: dict[str, Any] = {"model": "gpt-5.1", "messages": [{"role": "user", "content": "x"}]}
WITH_USAGE = {"stream": True, "stream_options": {"include_usage": True}}


def later(client: Any, use: Callable[[Any], Any], **options: Any) -> Any:
    async def run() -> Any:
        async with client(**options, api_key="k") as opened:
            return await use(opened)

    return asyncio.run(run())


def cut_short(url: str) -> dict[str, Callable[[], Any]]:
    """Calls of whose answers not everything is read, or not at once."""
    claude = anthropic.Anthropic(base_url=url, api_key="k")
    gpt = openai.OpenAI(base_url=f"{url}/v1", api_key="k")

    def left_early() -> None:
        stream = claude.messages.create(**CLAUDE, stream=True)
        next(iter(stream))
        del stream
        gc.collect()

    def left_by_with() -> None:
        with claude.messages.create(**CLAUDE, stream=True) as stream:
            next(iter(stream))

    async def left_by_async_with(client: Any) -> None:
        async with await client.messages.create(**CLAUDE, stream=True) as stream:
            async for _ in stream:
                break

    def closed_unread() -> None:
        claude.messages.create(**CLAUDE, stream=True).close()

    def read_later() -> Any:
        with gpt.chat.completions.with_streaming_response.create(**GPT) as response:
            return response.parse().choices[0].message.content

    async def async_read_later(client: Any) -> Any:
        async with client.chat.completions.with_streaming_response.create(**GPT, **WITH_USAGE) as response:
            return len([part async for part in await response.parse()])

    def lines_alone() -> None:
        with gpt.chat.completions.with_streaming_response.create(**GPT) as response:
            list(response.iter_lines())

    async def cancelled(client: Any) -> None:
        started = asyncio.Event()
        client._client.event_hooks["request"].append(lambda _: _set(started))
        call = asyncio.create_task(client.messages.create(**{**CLAUDE, "model": "silent"}))
        await started.wait()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    async def _set(event: asyncio.Event) -> None:
        event.set()

    def claude_later(use: Callable[[Any], Any]) -> Any:
        return later(anthropic.AsyncAnthropic, use, base_url=url)

    return {
        "claude left early": left_early,
        "claude left by with": left_by_with,
        "claude left by async with": lambda: claude_later(left_by_async_with),
        "claude closed unread": closed_unread,
        "claude cancelled": lambda: claude_later(cancelled),
        "gpt read later": read_later,
        "gpt read later, async stream": lambda: later(openai.AsyncOpenAI, async_read_later, base_url=f"{url}/v1"),
        "gpt lines alone": lines_alone,
    }


def cases(url: str) -> dict[str, Callable[[], Any]]:
    claude = anthropic.Anthropic(base_url=url, api_key="k")
    gpt = openai.OpenAI(base_url=f"{url}/v1", api_key="k")

    def claude_stream_manager() -> str:
        with claude.messages.stream(**CLAUDE) as stream:
            return str(stream.get_final_text())

    def claude_later(use: Callable[[Any], Any]) -> Any:
        return later(anthropic.AsyncAnthropic, use, base_url=url)

    def gpt_later(use: Callable[[Any], Any]) -> Any:
        return later(openai.AsyncOpenAI, use, base_url=f"{url}/v1")

    async def consumed(stream: Any) -> int:
        return len([part async for part in await stream])

    async def together(client: Any) -> int:
        return len(await asyncio.gather(*(client.messages.create(**CLAUDE) for _ in range(3))))

    def in_background() -> str:
        created = gpt.responses.create(model="gpt-5.1", input="x", background=True)
        for _ in range(3):  # polling: one call all the same
            status = gpt.responses.retrieve(created.id).status
        gpt.responses.retrieve("resp_of_another_day")  # what is only looked at is no call
        return str(status)

    def in_pool() -> None:
        with ThreadPoolExecutor(2) as pool:
            for future in [pool.submit(claude.messages.create, **CLAUDE) for _ in range(4)]:
                future.result()

    def in_thread() -> None:
        thread = threading.Thread(target=lambda: claude.messages.create(**CLAUDE))
        thread.start()
        thread.join()

    return {
        "claude": lambda: claude.messages.create(**CLAUDE).content[0].text,
        "claude beta": lambda: claude.beta.messages.create(**CLAUDE).content[0].text,
        "claude stream": lambda: len(list(claude.messages.create(**CLAUDE, stream=True))),
        "claude stream, zeros at its end": lambda: len(list(
            claude.messages.create(**{**CLAUDE, "model": "zeros"}, stream=True)
        )),
        "claude stream manager": claude_stream_manager,
        "claude raw": lambda: claude.messages.with_raw_response.create(**CLAUDE).parse().content[0].text,
        "claude async": lambda: claude_later(lambda c: c.messages.create(**CLAUDE)).content[0].text,
        "claude async stream": lambda: claude_later(lambda c: consumed(c.messages.create(**CLAUDE, stream=True))),
        "claude together": lambda: claude_later(together),
        "claude counted": lambda: claude.messages.count_tokens(
            model=CLAUDE["model"], messages=CLAUDE["messages"]
        ).input_tokens,
        "claude flaky": lambda: claude.messages.create(**{**CLAUDE, "model": "flaky"}).content[0].text,
        "claude broken": lambda: claude.messages.create(**{**CLAUDE, "model": "broken"}),
        "claude in a pool": in_pool,
        "claude in a thread": in_thread,
        "gpt": lambda: gpt.chat.completions.create(**GPT).choices[0].message.content,
        "gpt stream": lambda: len(list(gpt.chat.completions.create(**GPT, **WITH_USAGE))),
        "gpt stream, usage not asked for": lambda: len(list(gpt.chat.completions.create(**GPT, stream=True))),
        "gpt raw": lambda: gpt.chat.completions.with_raw_response.create(**GPT).parse().choices[0].message.content,
        "gpt raw stream": lambda: len(list(gpt.chat.completions.with_raw_response.create(**GPT, **WITH_USAGE).parse())),
        "gpt async": lambda: gpt_later(lambda c: c.chat.completions.create(**GPT)).choices[0].message.content,
        "gpt async stream": lambda: gpt_later(lambda c: consumed(c.chat.completions.create(**GPT, **WITH_USAGE))),
        "gpt flaky": lambda: gpt_later(
            lambda c: c.chat.completions.create(**{**GPT, "model": "flaky"})
        ).choices[0].message.content,
        "responses": lambda: gpt.responses.create(model="gpt-5.1", input="x").status,
        "responses stream": lambda: len(list(gpt.responses.create(model="gpt-5.1", input="x", stream=True))),
        "responses async": lambda: gpt_later(lambda c: c.responses.create(model="gpt-5.1", input="x")).status,
        "responses in the background": in_background,
        "embeddings": lambda: len(gpt.embeddings.create(model="gpt-5.1", input="x").data),
    }  # fmt: skip


def main(results: str) -> None:
    answers: dict[str, Any] = {}
    before = anthropic.Anthropic.request, openai.AsyncOpenAI.request, ThreadPoolExecutor.submit, threading.Thread.start
    gc.disable()  # what is closed is counted then, and not whenever it is collected
    with model_server.model_server() as url, track_run(results, benchmark="b", model="m", run_id="calls") as run:
        with llm.capture(), llm.capture():
            for name, call in {**cases(url), **cut_short(url)}.items():
                with run.task(name, worker="w") as task:
                    try:
                        answers[name] = call()
                    except (anthropic.APIError, openai.APIError) as error:
                        answers[name] = type(error).__name__
                    task.finish(success=True)
            cases(url)["gpt"]()  # outside of any task: the run's own
        with run.task("after", worker="w") as task:
            cases(url)["gpt"]()
            task.finish(success=True)
    after = anthropic.Anthropic.request, openai.AsyncOpenAI.request, ThreadPoolExecutor.submit, threading.Thread.start
    assert before == after, "everything is as it was"
    print(json.dumps(answers))


if __name__ == "__main__":
    main(sys.argv[1])
