"""A server in this process that takes and gives token ids, and loads adapters: what vLLM's does of it.

What it says follows from the ids and the model's name, so that a test can work it out: each token counts
on from the one before, and a token's log-probability is `logprob`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def logprob(ids: list[int], token: int) -> float:
    """One number for each text and token, between -6 and 0, no distribution."""
    return -(((31 * sum(ids[-3:]) + 17 * token) % 600) / 100 + 0.01)


class TokenServer(ThreadingHTTPServer):
    """Tell it by its fields what to do; `asked` are the requests for completions."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.loads = True
        """Whether it loads adapters."""
        self.gives_ids = True
        self.cards: list[dict[str, Any]] = [{"id": "base", "root": "/models/base"}]
        self.adapters: dict[str, str] = {}
        self.refusal = ""
        """What an adapter is refused with."""
        self.gap = 0.0
        """Nats per token by which the adapters, and listed directories, are less likely than told."""
        self.count: Callable[[str], int] = len
        """Tokens of a text."""
        self.text: list[int] | None = None
        """Ids of every answer."""
        self.asked: list[dict[str, Any]] = []
        self.history: list[str] = []
        """Names of adapters as they came and went."""


@contextmanager
def serving() -> Iterator[TokenServer]:
    server = TokenServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: TokenServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        adapters = [{"id": name, "root": path} for name, path in self.server.adapters.items()]
        self.reply(200, {"data": [*self.server.cards, *adapters]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        page = self.path.removeprefix("/v1/")
        if page in ("completions", "chat/completions"):
            self.server.asked.append(body)
            self.complete(body)
        elif self.server.loads and page.endswith("load_lora_adapter"):
            self.adapt(page == "load_lora_adapter", body)
        else:
            self.reply(404, {"detail": "Not Found"})

    def adapt(self, load: bool, body: dict[str, str]) -> None:
        name, server = body["lora_name"], self.server
        if not name:
            return self.refuse("Both 'lora_name' and 'lora_path' must be provided.")
        if load and server.refusal:
            return self.refuse(server.refusal)
        if load and name in server.adapters:
            return self.refuse(f"The lora adapter '{name}' has already been loaded.")
        server.history.append(f"{'+' if load else '-'}{name}")
        if load:
            server.adapters[name] = body["lora_path"]
        else:
            del server.adapters[name]
        return self.reply(200, "Success")

    def complete(self, body: dict[str, Any]) -> None:
        choice: dict[str, Any]
        server, name = self.server, body["model"]
        if name not in server.adapters and name not in (card["id"] for card in server.cards):
            return self.reply(404, {"error": {"message": f"The model {name} does not exist."}})
        if not isinstance(body.get("prompt"), list):  # words
            message = {"role": "assistant", "content": "words"}
            choice = {"text": "words", "message": message, "finish_reason": "stop"}
            tokens = self.server.count(body["prompt"]) if "prompt" in body else 1
            return self.reply(200, {"choices": [choice], "usage": {"prompt_tokens": tokens}})
        ids = list(body["prompt"])
        gap = 0.0 if name == "base" else server.gap
        new = server.text or [20 + (ids[-1] + 1 + i) % 60 for i in range(body["max_tokens"])]
        choice = {"text": "words", "finish_reason": "length"}
        if server.gives_ids:
            choice["token_ids"] = new
        if new[-1] in body.get("stop_token_ids", ()):
            choice["finish_reason"] = "stop"
        if "logprob_token_ids" in body and server.gives_ids:
            told = {f"token_id:{t}": logprob(ids, t) - gap for t in body["logprob_token_ids"]}
            choice["logprobs"] = {"top_logprobs": [told]}
        return self.reply(200, {"choices": [choice], "usage": {"prompt_tokens": len(ids)}})

    def refuse(self, said: str) -> None:
        self.reply(400, {"error": {"message": said, "code": 400}})

    def reply(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
