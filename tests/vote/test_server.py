"""The server: for one page with a token, blind, and one vote per pair whoever asks."""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.errors import MistakeError
from woolgather.report.votes.ballot import Poll, VoteFile
from woolgather.vote.server import HOST, Booth, VoteServer, page, policy


class Client:
    """Asks as the page does, unless it is told otherwise."""

    def __init__(self, server: VoteServer) -> None:
        self.base, self.port = f"/{server.token}/", server.server_port
        self.origin = f"http://{HOST}:{self.port}"

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> HTTPResponse:
        link = HTTPConnection(HOST, self.port, timeout=60)
        sent = {"Origin": self.origin} if method == "POST" else {}
        content = body if isinstance(body, bytes) else json.dumps(body).encode() if body else None
        link.request(method, path, content, {**sent, **headers})
        return link.getresponse()

    def get(self, name: str) -> Any:
        return self._read(self.ask("GET", self.base + name))

    def post(self, name: str, body: object) -> Any:
        return self._read(self.ask("POST", self.base + name, body))

    def _read(self, reply: HTTPResponse) -> Any:
        assert reply.status == 200
        return json.loads(reply.read())


@pytest.fixture
def client(server: VoteServer) -> Client:
    return Client(server)


def test_the_page_needs_its_token(server: VoteServer, client: Client) -> None:
    reply = client.ask("GET", client.base)
    assert (reply.status, reply.read().decode()) == (200, page())
    assert server.address == f"http://127.0.0.1:{server.server_port}{client.base}"
    assert len(server.token) >= 24
    for path in (
        "/",
        "/state",
        f"/{server.token}",
        "/wrong/",
        "/wrong/state",
        f"{client.base}nothing",
    ):
        assert client.ask("GET", path).status == 404, path
    assert client.ask("POST", "/wrong/vote", {"pair": "", "choice": "tie"}).status == 404
    assert client.ask("POST", f"{client.base}nothing", {}).status == 404
    assert client.ask("PUT", f"{client.base}vote").status == 501


def test_another_host_or_origin_is_refused(client: Client, booth: Booth) -> None:
    """A page of another site may know the port; a name of its own may lead to this machine."""
    assert client.ask("GET", client.base, Host=f"evil.example:{client.port}").status == 403
    assert client.ask("GET", client.base, Host="127.0.0.1").status == 403
    assert client.ask("GET", client.base, Host=f"localhost:{client.port}").status == 200
    body = {"pair": booth.poll.pairs[0].id, "choice": "tie"}
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        assert client.ask("POST", f"{client.base}vote", body, Origin=origin).status == 403
    link = HTTPConnection(HOST, client.port, timeout=60)
    link.request("POST", f"{client.base}vote", json.dumps(body))
    assert link.getresponse().status == 403
    assert not booth.tally.votes


def test_nothing_is_fetched_from_elsewhere(client: Client) -> None:
    headers = client.ask("GET", client.base).headers
    assert headers["Content-Security-Policy"] == policy()
    assert "default-src 'none'" in policy()
    assert "unsafe" not in policy()
    assert (headers["Referrer-Policy"], headers["Cache-Control"]) == ("no-referrer", "no-store")
    assert "http" not in page().replace("https", "http").replace("woolgather", "")
    assert "innerHTML" not in page()


def test_votes_go_to_the_model_behind_the_side(client: Client, booth: Booth, poll: Poll) -> None:
    state, sides = client.get("state"), []
    for _ in range(len(poll.pairs)):
        shown = state["pair"]
        sides.append(shown["left"].startswith("first"))
        state = client.post("vote", {"pair": shown["id"], "choice": "left"})
        assert state["counts"]
    assert (state["pair"], state["voted"]) == (None, 6)
    assert booth.tally.counts["first"] == sum(sides)
    assert 0 < sum(sides) < 6


def test_the_page_is_told_no_names_and_no_preference(client: Client) -> None:
    for choice in ("left", "tie", "right"):
        state = client.get("state")
        client.post("vote", {"pair": state["pair"]["id"], "choice": choice})
    state = client.get("state")
    assert state.keys() == {"pair", "voted", "total", "ties", "last", "marks", "told"}
    assert state["pair"].keys() == {
        "id",
        "part",
        "system",
        "instruction",
        "input",
        "left",
        "right",
        "cut",
    }
    assert not {"result", "base"} & set(state["told"].split())
    assert (state["voted"], state["ties"], state["total"]) == (3, 1, 6)
    assert "20 votes can only reject a bad judge" in state["told"]


def test_a_vote_can_be_taken_back_and_given_anew(client: Client, booth: Booth) -> None:
    first = client.get("state")["pair"]["id"]
    state = client.post("vote", {"pair": first, "choice": "tie"})
    assert (state["last"], state["ties"]) == (first, 1)
    state = client.post("undo", {"pair": first})
    assert (state["counts"], state["pair"]["id"], state["voted"]) == (True, first, 0)
    assert not client.post("undo", {"pair": first})["counts"]
    client.post("vote", {"pair": first, "choice": "left"})
    assert booth.tally.counts["tie"] == 0


def test_two_pages_are_no_two_votes(client: Client, booth: Booth) -> None:
    pair = client.get("state")["pair"]["id"]
    assert client.post("vote", {"pair": pair, "choice": "left"})["counts"]
    other = client.post("vote", {"pair": pair, "choice": "right"})
    assert (other["counts"], other["voted"]) == (False, 1)
    assert other["pair"]["id"] != pair
    assert len(booth.tally.votes) == 1


def test_what_is_no_vote_counts_for_nothing(client: Client, booth: Booth) -> None:
    pair = client.get("state")["pair"]["id"]
    bodies: list[object] = [
        {"pair": pair, "choice": "first"}, {"pair": "0" * 12, "choice": "left"}, {"pair": pair},
        ["left"], b"no json", b"\xff", b"x" * 5000,
    ]  # fmt: skip
    for body in bodies:
        reply = client.ask("POST", f"{client.base}vote", body)
        assert json.loads(reply.read())["counts"] is False
    for length in ("-1", "abc", "1e3"):
        reply = client.ask("POST", f"{client.base}vote", **{"Content-Length": length})
        assert json.loads(reply.read())["counts"] is False
    assert not booth.tally.votes


def test_voting_goes_on_where_it_ended(client: Client, poll: Poll, tmp_path: Path) -> None:
    """Same order, same sides, whatever process asks."""
    seen = client.get("state")["pair"]
    client.post("vote", {"pair": seen["id"], "choice": "right"})
    due = client.get("state")
    later = Booth(poll, VoteFile(tmp_path)).state()
    assert later == due
    assert later["pair"]["id"] != seen["id"]


def test_the_result_names_the_models_once_it_is_asked_for(client: Client) -> None:
    state = client.get("state")
    client.post("vote", {"pair": state["pair"]["id"], "choice": "tie"})
    found = client.get("result")
    assert found["sentence"] == "1 vote, and none that prefers result or base."
    assert [table["title"] for table in found["tables"]] == ["Votes", "Judges against the votes"]
    assert ["ties", "1"] in found["tables"][0]["rows"]


def test_a_port_that_is_taken_is_one_sentence(server: VoteServer, booth: Booth) -> None:
    with pytest.raises(
        MistakeError, match=rf"--port {server.server_port} cannot be used .* in use"
    ):
        VoteServer(booth, server.server_port)
