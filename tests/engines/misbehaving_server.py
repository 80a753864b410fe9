"""A server of OpenAI's protocol that misbehaves as it is told: a program for the engine's tests.

Prints its port, and leaves when its standard input is closed. Told by `POST /control` (see
`Behaviour`), it tells by `GET /stats` what it was asked. A fault is one of:

    ok  401  429[:retry-after]  500  503[:retry-after]  hang  drip  reset  cut  truncated  html  empty
"""

import hashlib
import json
import os
import re
import select
import socket
import struct
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Behaviour:
    faults: list[str] = field(default_factory=list)
    """For the coming requests, one each; after them `always`."""
    always: str = "ok"
    by_prompt: dict[str, list[str]] = field(default_factory=dict)
    """For the first attempts at a prompt."""
    delay: float = 0.0
    dies_after: int = 0
    """Answers, after which every request finds the connection reset; 0: it lives."""
    closes: bool = False
    """Whether each connection is closed after its answer, which the answer does not say."""
    capacity: int = 0
    """Requests at once; more get a 429. 0: any number."""
    paths: list[str] = field(
        default_factory=lambda: ["/completions", "/chat/completions", "/embeddings", "/models"]
    )
    models: list[str] = field(default_factory=lambda: ["tiny"])
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By model, what its entry in the list has besides its name."""
    listing: str = "ok"
    """ok | html | a status: what a request for the list is answered with."""
    unlisted: list[str] = field(default_factory=list)
    """Models that are served and not in the list."""
    key: str = ""
    """The only one that is let in; empty: nobody is asked."""
    refuse: list[str] = field(default_factory=list)
    """Fields that are turned down with a 400 that names them."""
    error: dict[str, Any] = field(default_factory=dict)
    """{"status": ..., "message": ..., "code": ...} for every request."""
    finish: str | None = "stop"
    text: str | None = None
    """What is said; by default an answer that names the prompt."""
    says: dict[str, str] = field(default_factory=dict)
    """By model, what is said instead."""
    context: int = 0
    """Characters a prompt may have; 0: any number."""
    choice: dict[str, Any] = field(default_factory=dict)
    """Fields of every answer's choice, over its own."""
    usage: Any = None
    """In place of the counts of tokens."""
    whole: Any = None
    """In place of every answer, with status 200."""
    told: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By prompt, {"status": ..., "body": ...} in place of its answer; a body that is a text is HTML."""
    continues: bool = True
    """Whether a begun answer is continued while reasoning is on."""
    logprobs: str = "plain"
    """plain | start (a start token is shown) | bare (tokens lose their spaces) | none | forced (that of
    the token that is written, whatever the bias, as llama.cpp) | biased (the bias is counted in) |
    likeliest (no prompt is repeated)"""
    likeliest: dict[str, float] = field(default_factory=dict)
    """The likeliest next tokens, and their log-probabilities."""
    vocabulary: str = ""
    """The file of a tokenizer: prompts may be token ids, and are counted by it. Empty: text alone."""
    counts: int = 0
    """Tokens that are counted beyond those of a prompt that is text."""
    ids_status: int = 400
    """What a server without a vocabulary says to a list of ids."""
    answers_as: str = ""
    """The model that is named in answers; empty for the one that was asked."""


@dataclass
class Stats:
    requests: list[dict[str, Any]] = field(default_factory=list)
    """Those for answers; `listed` counts those for the list of models."""
    listed: int = 0
    answered: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    most_in_flight: int = 0
    abandoned: int = 0


lock = threading.Lock()
behaviour = Behaviour()
stats = Stats()


def prompt_of(body: dict[str, Any]) -> str:
    if "messages" in body:
        return str(body["messages"][-1]["content"])
    prompt = body.get("prompt", body.get("input", ""))
    if isinstance(prompt, list) and behaviour.vocabulary:
        return str(tokenizer(behaviour.vocabulary).decode(prompt, skip_special_tokens=False))
    return str(prompt)


@cache
def tokenizer(file: str) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(file)


def logprob_behind(ids: list[int], token: int) -> float:
    """The log-probability of a token behind those before it."""
    return logprob(f"{ids}>{token}")


def logprob(token: str) -> float:
    return -int(hashlib.sha256(token.encode()).hexdigest()[:4], 16) / 65536 - 0.01


def tokens_of(text: str) -> list[str]:
    return re.findall(r"\s?\w+|\s?[^\w\s]|\s", text)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/stats":
            with lock:
                self.reply(200, {**vars(stats), "answered": dict(stats.answered)})
        else:
            with lock:
                stats.listed += 1
            self.list_models()

    def list_models(self) -> None:
        b = behaviour
        if "/models" not in b.paths:
            self.reply(404, {"error": {"message": "no such page"}})
        elif b.listing.isdigit():
            self.reply(int(b.listing), {"error": {"message": "no list"}})
        elif b.listing == "html":
            self.send(200, b"<html>models</html>", "text/html")
        elif self.let_in():
            self.reply(200, {"data": [{"id": m, **b.cards.get(m, {})} for m in b.models]})

    def do_POST(self) -> None:
        global behaviour, stats
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/control":
            with lock:
                behaviour, stats = Behaviour(**body), Stats()
            return self.reply(200, {})
        with lock:
            stats.in_flight += 1
            stats.most_in_flight = max(stats.most_in_flight, stats.in_flight)
            busy = 0 < behaviour.capacity < stats.in_flight
            stats.requests.append(
                {
                    "path": self.path,
                    "body": body,
                    "authorization": self.headers.get("authorization"),
                    "at": time.monotonic(),
                }
            )
            dead = 0 < behaviour.dies_after <= stats.answered.total()
            own = behaviour.by_prompt.get(prompt_of(body))
            queue = own or behaviour.faults
            fault = "429" if busy else queue.pop(0) if queue else behaviour.always
        try:
            self.misbehave("reset" if dead else fault, body)
            self.close_connection |= behaviour.closes
        finally:
            with lock:
                stats.in_flight -= 1

    def misbehave(self, fault: str, body: dict[str, Any]) -> None:
        kind, _, seconds = fault.partition(":")
        if behaviour.delay and self.gone_within(behaviour.delay):
            return
        if kind == "hang":
            self.gone_within(60)
        elif kind == "drip":
            self.drip()
        elif kind == "reset":
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            self.connection.close()
        elif kind == "cut":
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "5000")
            self.end_headers()
            self.wfile.write(b'{"choices": [{"te')
            self.close_connection = True
        elif kind == "truncated":
            self.send(200, b'{"choices": [{"text": "half an ans', "application/json")
        elif kind == "html":
            self.send(200, b"<html>busy</html>", "text/html")
        elif kind == "empty":
            self.reply(200, {"choices": [], "usage": None})
        elif kind.isdigit():
            told = self.headers.get("authorization", "")
            extra = {"Retry-After": seconds} if seconds else {}
            self.reply(int(kind), {"error": {"message": f"not now, {told}"}}, extra)
        else:
            self.answer(body)

    def drip(self) -> None:
        """An answer that never ends, a byte at a time."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "5000")
        self.end_headers()
        while not self.gone_within(0.1):
            self.wfile.write(b" ")

    @staticmethod
    def reasoning_is_off(body: dict[str, Any]) -> bool:
        return body.get("chat_template_kwargs", {}).get("enable_thinking") is False

    def answer(self, body: dict[str, Any]) -> None:
        path = self.path.removeprefix("/v1")
        b = behaviour
        if path not in b.paths:
            return self.reply(404, {"error": {"message": "no such page"}})
        if not self.let_in():
            return None
        if b.error:
            return self.reply(b.error["status"], {"error": b.error})
        if body["model"] not in (*b.models, *b.unlisted):
            return self.reply(404, {"error": {"message": f"The model {body['model']} is not here"}})
        for name in b.refuse:
            if name in body:
                return self.reply(400, {"error": {"message": f"unknown argument: {name}"}})
        if isinstance(body.get("prompt"), list) and not b.vocabulary:
            return self.reply(b.ids_status, {"error": {"message": "prompt must be a string"}})
        prompt = prompt_of(body)
        begun = "messages" in body and body["messages"][-1]["role"] == "assistant"
        if begun and not b.continues and not self.reasoning_is_off(body):
            said = "Assistant response prefill is incompatible with enable_thinking."
            return self.reply(400, {"error": {"code": 400, "message": said}})
        if told := b.told.get(prompt):
            if isinstance(told["body"], str):
                return self.send(told["status"], told["body"].encode(), "text/html")
            return self.reply(told["status"], told["body"])
        if b.whole is not None:
            return self.reply(200, b.whole)
        if 0 < b.context < len(prompt):
            return self.reply(
                400, {"error": {"message": f"maximum context length is {b.context}", "code": 400}}
            )
        with lock:
            stats.answered[prompt] += 1
        if path == "/embeddings":
            vectors = [
                {"index": i, "embedding": [float(len(t)), 1.0]} for i, t in enumerate(body["input"])
            ]
            return self.reply(200, {"data": vectors[::-1]})
        text = b.says.get(body["model"], b.text)
        text = text if text is not None else f"answer to {prompt}"
        choice: dict[str, Any] = {"index": 0, "finish_reason": b.finish}
        shown = tokens_of(prompt)
        if path == "/completions":
            choice["text"] = prompt + " next" if body.get("echo") else text
        else:
            choice["message"] = {"role": "assistant", "content": text}
        if body.get("logprobs") and b.logprobs != "none":
            choice["logprobs"] = self.shown_logprobs(body, shown)
        choice |= b.choice
        used = len(shown) + (b.logprobs == "start")
        if b.vocabulary and "prompt" in body:
            ids = body["prompt"]
            in_text = isinstance(ids, str)
            used = len(tokenizer(b.vocabulary).encode(ids).ids) + b.counts if in_text else len(ids)
        self.reply(
            200,
            {
                "model": b.answers_as or body["model"],
                "choices": [choice],
                "usage": b.usage or {"prompt_tokens": used, "completion_tokens": len(text.split())},
            },
        )

    def shown_logprobs(self, body: dict[str, Any], shown: list[str]) -> dict[str, Any]:
        b = behaviour
        prompt = body.get("prompt")
        if b.logprobs in ("plain", "start", "bare") and body.get("echo"):
            if isinstance(prompt, str):
                return self.logprobs(shown)
            values = [logprob_behind(prompt[:i], token) for i, token in enumerate(prompt)]
            return {
                "tokens": [*map(str, prompt), " next"],
                "token_logprobs": [None, *values[1:], -0.5],
            }
        if b.logprobs == "plain" and "logprob_token_ids" in body:
            some = {f"token_id:{t}": logprob_behind(prompt, t) for t in body["logprob_token_ids"]}
            return {"tokens": ["token_id:0"], "token_logprobs": [-9.0], "top_logprobs": [some]}
        if b.logprobs in ("forced", "biased") and isinstance(prompt, list):
            forced = next(map(int, body.get("logit_bias", {})), 0)
            value = logprob_behind(prompt, forced) - 1.0 if b.logprobs == "forced" else -1e-9
            return {"content": [{"id": forced, "token": "?", "logprob": value, "top_logprobs": []}]}
        tops = [{"token": token, "logprob": value} for token, value in b.likeliest.items()]
        if "messages" in body:
            return {"content": [{**tops[0], "top_logprobs": tops}] if tops else []}
        return {
            "tokens": list(b.likeliest)[:1],
            "token_logprobs": list(b.likeliest.values())[:1],
            "top_logprobs": [b.likeliest],
        }

    def logprobs(self, tokens: list[str]) -> dict[str, Any]:
        values: list[float | None] = [logprob(t) for t in tokens]
        if behaviour.logprobs == "start":
            tokens, values = ["<s>", *tokens], [None, *values]
        elif values:
            values[0] = None
        if behaviour.logprobs == "bare":
            tokens = [t.strip() for t in tokens]
        return {"tokens": [*tokens, " next"], "token_logprobs": [*values, -0.5]}

    def let_in(self) -> bool:
        told = self.headers.get("authorization", "")
        if behaviour.key and told != f"Bearer {behaviour.key}":
            self.reply(401, {"error": {"message": f"Incorrect key: {told}"}})
            return False
        return True

    def gone_within(self, seconds: float) -> bool:
        """Waits, and notices when the other side hangs up."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if select.select([self.connection], [], [], left)[0]:
                with lock:
                    stats.abandoned += 1
                self.close_connection = True
                return True
        return False

    def reply(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        self.send(status, json.dumps(value).encode(), "application/json", headers)

    def send(
        self, status: int, data: bytes, kind: str, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_: object) -> None:
        """A client that hung up is part of the plan."""


def main() -> None:
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
