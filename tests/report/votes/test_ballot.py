"""Votes are rows that are only added: a kill, a second page and an undo leave one vote per pair."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from woolgather.core.errors import RunDirError
from woolgather.report.votes.ballot import (
    PAIRS,
    ROWS,
    AnswerPair,
    Poll,
    VoteFile,
    poll_dir,
    read_poll,
    read_polls,
    write_poll,
)


def make_pair(i: int) -> AnswerPair:
    return AnswerPair("probe", f"task {i}", "", "", f"mine {i}", f"theirs {i}", {"check": 1.0})


POLL = Poll(("result", "base"), "salt", [make_pair(i) for i in range(400)])


def test_a_poll_comes_back_as_it_was_written(tmp_path: Path) -> None:
    folder = poll_dir(tmp_path, ("control/random-rows", "base"))
    assert folder == tmp_path / "votes" / "control-random-rows-or-base"
    write_poll(POLL, folder)
    assert read_poll(folder) == POLL
    assert [poll for poll, _ in read_polls(tmp_path)] == [POLL]
    (folder / PAIRS).write_text('{"models": ["a"]}')
    with pytest.raises(RunDirError, match=r"pairs.json is broken .* delete it"):
        read_polls(tmp_path)


def test_order_and_sides_are_drawn_by_the_salt() -> None:
    other = Poll(POLL.models, "pepper", POLL.pairs)
    order = [pair.id for pair in POLL.shuffled()]
    assert order == [pair.id for pair in POLL.shuffled()]
    assert sorted(order) == sorted(pair.id for pair in POLL.pairs)
    assert order not in ([p.id for p in POLL.pairs], [p.id for p in other.shuffled()])
    sides = [POLL.left_of(pair) for pair in POLL.pairs]
    assert 160 < sides.count("first") < 240
    assert sides != [other.left_of(pair) for pair in POLL.pairs]
    assert make_pair(1).id != make_pair(2).id
    changed = AnswerPair("probe", "task 1", "", "", "mine 1", "theirs, another", {})
    assert changed.id != make_pair(1).id


def test_the_last_row_of_a_pair_counts(tmp_path: Path) -> None:
    votes = VoteFile(tmp_path)
    assert votes.read() == {}
    assert votes.add("a", "first", "second")
    assert votes.add("b", "tie", "first")
    assert not votes.add("a", "second", "second")
    assert not votes.undo("c")
    assert votes.undo("a")
    assert not votes.undo("a")
    assert votes.read() == {"b": "tie"}
    assert votes.add("a", "second", "second")
    assert VoteFile(tmp_path).read() == {"b": "tie", "a": "second"}
    rows = [json.loads(line) for line in (tmp_path / ROWS).read_text().splitlines()]
    assert [row["choice"] for row in rows] == ["first", "tie", "undone", "second"]
    assert rows[0]["left"] == "second"
    assert all(row["at"].endswith("+00:00") for row in rows)


def test_a_row_that_a_kill_cut_short_is_no_vote(tmp_path: Path) -> None:
    votes = VoteFile(tmp_path)
    votes.add("a", "first", "first")
    with (tmp_path / ROWS).open("ab") as file:
        file.write(b'{"pair": "b", "choi\xff')
    assert votes.read() == {"a": "first"}
    assert votes.add("b", "second", "first")
    assert votes.read() == {"a": "first", "b": "second"}


def test_pages_and_processes_count_a_pair_once(tmp_path: Path) -> None:
    """Each thread has a file of its own, as another process would."""
    counted: list[bool] = []

    def vote() -> None:
        mine = VoteFile(tmp_path)
        counted.extend(mine.add(f"pair {i}", "first", "first") for i in range(10))

    threads = [threading.Thread(target=vote) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counted) == 10
    assert len((tmp_path / ROWS).read_text().splitlines()) == 10
