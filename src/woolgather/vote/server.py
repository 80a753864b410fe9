"""The page on which people vote, served to one machine: blind, shuffled, and nothing from outside.

The one idea: a page of this machine's browser is not alone there. So the address holds a random token,
the server listens on the loopback alone, a request must name it as its host, and a vote must come from
its own page. What the page is told never says whose answer is whose before somebody asks for the
result. Texts of models travel as JSON and are written as text.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import sys
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import socket

from woolgather.core.errors import MistakeError
from woolgather.core.rows import JSON
from woolgather.report.text import cell, visible
from woolgather.report.votes.ballot import AnswerPair, Poll, Preferred, Side, VoteFile
from woolgather.report.votes.tally import ENOUGH, FEW, VoteTally, explain

HERE = Path(__file__).parent
HOST = "127.0.0.1"
MOST_BYTES = 4096
"""Bytes of a request's body; a vote has about 50."""
OTHER: dict[Side, Side] = {"first": "second", "second": "first"}


@dataclass(frozen=True)
class Booth:
    """What a page may ask of a poll, whoever asks."""

    poll: Poll
    votes: VoteFile

    @property
    def tally(self) -> VoteTally:
        """Returns the votes so far, counted."""
        return VoteTally.count(self.poll, self.votes.read())

    def state(self) -> dict[str, JSON]:
        """Returns the next pair, None after the last one, and how far the vote has come; nothing that
        tells the models apart."""
        tally = self.tally
        pair = next((p for p in self.poll.shuffled() if p.id not in tally.votes), None)
        return {
            "pair": pair and self._show(pair),
            "voted": len(tally.votes),
            "total": len(self.poll.pairs),
            "ties": tally.counts["tie"],
            "last": [*tally.votes][-1] if tally.votes else None,
            "marks": [FEW, ENOUGH],
            "told": _progress(tally),
        }

    def vote(self, pair: str, choice: str) -> bool:
        """Returns whether the vote counts; it does not where the pair has one already, or there is no
        such pair or choice ("left", "right", "tie")."""
        known = next((p for p in self.poll.pairs if p.id == pair), None)
        if known is None or choice not in ("left", "right", "tie"):
            return False
        left = self.poll.left_of(known)
        sides: dict[str, Preferred] = {"left": left, "right": OTHER[left], "tie": "tie"}
        return self.votes.add(pair, sides[choice], left)

    def undo(self, pair: str) -> bool:
        """Returns whether there was a vote on the pair to take back."""
        return self.votes.undo(pair)

    def result(self) -> dict[str, JSON]:
        """Returns what the votes say, models by name."""
        tally = self.tally
        tables = [
            {
                "title": view.title,
                "columns": view.data["columns"],
                "rows": [[cell(value) for value in row] for row in view.data["rows"]],
                "note": view.note,
            }
            for view in tally.views()
        ]
        return {"sentence": tally.sentence, "tables": tables}

    def _show(self, pair: AnswerPair) -> dict[str, JSON]:
        texts = {"first": visible(pair.first), "second": visible(pair.second)}
        left = self.poll.left_of(pair)
        return {
            "id": pair.id,
            "part": pair.part,
            "system": visible(pair.system),
            "instruction": visible(pair.instruction),
            "input": visible(pair.input),
            "left": texts[left],
            "right": texts[OTHER[left]],
            "cut": [
                side for side, of in (("left", left), ("right", OTHER[left])) if of in pair.cut
            ],
        }


def _progress(tally: VoteTally) -> str:
    """What so many votes can tell, without a word on which model they prefer."""
    if tally.winner:
        return "Decided: one model is preferred, and it is sound to stop. More votes narrow the interval."
    still = "Undecided so far: the votes fit two models that are equally good."
    return f"{still} {explain(len(tally.votes))}" if len(tally.votes) < ENOUGH else still


class VoteServer(ThreadingHTTPServer):
    """Serves a booth at `address`. Raises MistakeError for a port that is taken."""

    daemon_threads = True

    def __init__(self, booth: Booth, port: int = 0) -> None:
        self.booth, self.token = booth, secrets.token_urlsafe(18)
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            raise MistakeError(
                f"--port {port} cannot be used ({error}); name another one, or leave --port out, which "
                "takes any that is free."
            ) from error
        self.hosts = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}

    def handle_error(self, request: socket | tuple[bytes, socket], client_address: object) -> None:
        """A browser that leaves amid an answer is no error; any other is printed."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    @property
    def address(self) -> str:
        """Returns the address of the page, token included."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"


class _Handler(BaseHTTPRequestHandler):
    server: VoteServer
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        match self._path():
            case "":
                self._send(HTTPStatus.OK, page().encode(), "text/html; charset=utf-8")
            case "state":
                self._send_json(self.server.booth.state())
            case "result":
                self._send_json(self.server.booth.result())
            case str():
                self._refuse(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        path = self._path()
        if path is None:
            return
        if self.headers.get("Origin") not in {f"http://{host}" for host in self.server.hosts}:
            self._refuse(HTTPStatus.FORBIDDEN)
            return
        body = self._body()
        pair = str(body.get("pair", ""))
        if path == "vote":
            counts = self.server.booth.vote(pair, str(body.get("choice", "")))
        elif path == "undo":
            counts = self.server.booth.undo(pair)
        else:
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        self._send_json({"counts": counts, **self.server.booth.state()})

    def _path(self) -> str | None:
        """What is asked for behind the token; None for a request that was refused."""
        if self.headers.get("Host") not in self.server.hosts:
            self._refuse(HTTPStatus.FORBIDDEN)
            return None
        token, slash, rest = self.path.removeprefix("/").partition("?")[0].partition("/")
        if not slash or not secrets.compare_digest(token.encode(), self.server.token.encode()):
            self._refuse(HTTPStatus.NOT_FOUND)
            return None
        return rest

    def _body(self) -> dict[str, JSON]:
        """The JSON object that was sent; empty for anything else."""
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or int(length) > MOST_BYTES:
            self.close_connection = True
            return {}
        try:
            found = json.loads(self.rfile.read(int(length)))
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def _send_json(self, value: JSON) -> None:
        self._send(HTTPStatus.OK, json.dumps(value).encode(), "application/json")

    def _refuse(self, status: HTTPStatus) -> None:
        """Whatever was sent along stays unread, so the connection ends."""
        self.close_connection = True
        self._send(status, f"{status.phrase}\n".encode(), "text/plain")

    def _send(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": policy(),
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        if self.close_connection:
            headers["Connection"] = "close"
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
        """Nothing: the terminal is for the address."""


@cache
def _asset(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8").strip()


@cache
def page() -> str:
    """Returns the page, its style and script within it. It holds no text of a run."""
    html = _asset("page.html").replace("/* page.css */", _asset("page.css"))
    return html.replace("/* page.js */", _asset("page.js"))


@cache
def policy() -> str:
    """Returns what the page may load: its own style and script, by hash, and answers of this server."""
    style, script = (
        base64.b64encode(hashlib.sha256(_asset(name).encode()).digest()).decode()
        for name in ("page.css", "page.js")
    )
    return (
        f"default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
