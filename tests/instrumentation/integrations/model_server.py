"""A model server on 127.0.0.1 that speaks Anthropic's and OpenAI's wire formats, with made-up answers.

A model named ``flaky`` fails once for each path before it answers, ``broken`` always does, ``silent`` answers once the
server is closed, ``zeros`` ends its streams with an input of 0. Standard library only.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ANTHROPIC = {"input_tokens": 11, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 7, "output_tokens": 5}
CHAT = {
    "prompt_tokens": 50,
    "completion_tokens": 6,
    "total_tokens": 56,
    "prompt_tokens_details": {"cached_tokens": 20},
}
RESPONSES = {
    "input_tokens": 40,
    "output_tokens": 8,
    "total_tokens": 48,
    "input_tokens_details": {"cached_tokens": 10},
    "output_tokens_details": {"reasoning_tokens": 2},
}
EMBEDDINGS: dict[str, Any] = {
    "object": "list",
    "model": "gpt-5.1",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
    "usage": {"prompt_tokens": 4, "total_tokens": 4},
}


def _message(model: str, usage: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "content": [{"type": "text", "text": "click"}],
        "usage": usage or ANTHROPIC,
    }


def _message_events(model: str) -> Iterator[tuple[str, dict[str, Any]]]:
    start = {**_message(model, {**ANTHROPIC, "output_tokens": 1}), "content": [], "stop_reason": None}
    yield "message_start", {"type": "message_start", "message": start}
    block = {"type": "text", "text": ""}
    yield "content_block_start", {"type": "content_block_start", "index": 0, "content_block": block}
    delta = {"type": "text_delta", "text": "click"}
    yield "content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta}
    yield "content_block_stop", {"type": "content_block_stop", "index": 0}
    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    usage = {"output_tokens": 5} if model != "zeros" else {"input_tokens": 0, "output_tokens": 5}
    yield "message_delta", {"type": "message_delta", "delta": stop, "usage": usage}
    yield "message_stop", {"type": "message_stop"}


def _completion(model: str) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "click"}}
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [choice],
        "usage": CHAT,
    }


def _completion_events(model: str, usage: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": model}
    for text in ("cl", "ick"):
        delta = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}
        yield "", {**head, "choices": [delta], "usage": None}
    if usage:
        yield "", {**head, "choices": [], "usage": CHAT}


def _response(model: str, usage: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "id": "r1",
        "object": "response",
        "created_at": 1,
        "model": model,
        "status": "completed",
        "usage": usage,
        "output": [],
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "metadata": {},
    }


def _background_response(usage: dict[str, Any] | None) -> dict[str, Any]:
    status = "queued" if usage is None else "completed"
    return {**_response("gpt-5.1", usage), "id": "background_1", "background": True, "status": status}


def _response_events(model: str) -> Iterator[tuple[str, dict[str, Any]]]:
    created = {**_response(model, None), "status": "in_progress"}
    yield "response.created", {"type": "response.created", "sequence_number": 0, "response": created}
    done = _response(model, RESPONSES)
    yield "response.completed", {"type": "response.completed", "sequence_number": 1, "response": done}


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    failed: set[str]
    closing: threading.Event

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        path, model = self.path.partition("?")[0], str(body.get("model"))
        if model == "broken" or (model == "flaky" and path not in self.failed):
            self.failed.add(path)
            self._send(400 if model == "broken" else 500, json.dumps({"error": {"message": "no"}}).encode())
            return
        if model == "silent":
            self.closing.wait()
            return
        events: Iterator[tuple[str, dict[str, Any]]]
        answer: dict[str, Any]
        if path.endswith("/count_tokens"):
            answer, events = {"input_tokens": 11}, iter(())
        elif path.endswith("/embeddings"):
            answer, events = EMBEDDINGS, iter(())
        elif path.endswith("/messages"):
            answer, events = _message(model), _message_events(model)
        elif path.endswith("/chat/completions"):
            wanted = (body.get("stream_options") or {}).get("include_usage", False)
            answer, events = _completion(model), _completion_events(model, wanted)
        elif body.get("background"):
            answer, events = _background_response(None), iter(())
        else:
            answer, events = _response(model, RESPONSES), _response_events(model)
        if body.get("stream"):
            lines = [f"event: {name}\ndata: {json.dumps(data)}\n\n" if name else f"data: {json.dumps(data)}\n\n"
                     for name, data in events]  # fmt: skip
            text = "".join(lines) + ("data: [DONE]\n\n" if path.endswith("/completions") else "")
            self._send(200, text.encode(), "text/event-stream")
        else:
            self._send(200, json.dumps(answer).encode())

    def do_GET(self) -> None:
        background = self.path.endswith("/background_1")
        stored = _background_response(RESPONSES) if background else _response("gpt-5.1", RESPONSES)
        self._send(200, json.dumps(stored).encode())

    def _send(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.send_header("retry-after-ms", "1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""


@contextmanager
def model_server() -> Iterator[str]:
    """The server's address, without a path, for as long as the block lasts."""
    closing = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answer", (_Answer,), {"failed": set(), "closing": closing}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
