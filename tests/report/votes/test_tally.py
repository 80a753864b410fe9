"""What votes say: who is preferred and how surely, which judges agree, and where a report shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from woolgather.core.views import View
from woolgather.report.page import write_report
from woolgather.report.votes.ballot import (
    AnswerPair,
    Poll,
    Preferred,
    VoteFile,
    poll_dir,
    write_poll,
)
from woolgather.report.votes.tally import VoteTally, explain, read_tallies
from woolgather.runs.record import write_run


def make_poll(count: int, judged: dict[str, list[float]]) -> Poll:
    pairs = [
        AnswerPair("probe", f"task {i}", "", "", f"one {i}", f"two {i}",
                   {name: values[i] for name, values in judged.items() if i < len(values)})
        for i in range(count)
    ]  # fmt: skip
    return Poll(("result", "<base>"), "salt", pairs)


def tally_of(poll: Poll, choices: list[Preferred]) -> VoteTally:
    votes = {pair.id: choice for pair, choice in zip(poll.pairs, choices, strict=False)}
    return VoteTally.count(poll, {**votes, "of an older answer": "first"})


def column(view: View, place: int) -> list[object]:
    rows = view.data["rows"]
    return [row[place] for row in rows]


def test_votes_are_counted_and_ties_left_out() -> None:
    tally = tally_of(make_poll(20, {}), ["first"] * 6 + ["second"] * 2 + ["tie"] * 3)
    assert tally.counts == {"first": 6, "tie": 3, "second": 2}
    assert tally.preferred is not None
    assert (tally.preferred.value, tally.preferred.count) == (0.75, 8)
    assert (tally.winner, tally.win_rate, tally.agreements) == ("", None, [])
    [view] = tally.views()
    assert column(view, 1)[:4] == [6, 2, 3, 9]
    assert column(view, 1)[-1] == "from 100 votes on"
    assert "20 votes can only reject a bad judge" in view.note
    assert "56 to 94 %" in view.note
    assert tally.sentence == (
        "result is preferred to <base> in 75 % [35, 97] of 8 votes that prefer one of them; which of "
        "them is the better is still open."
    )


def test_a_model_is_the_better_once_that_holds_whenever_one_stops() -> None:
    poll = make_poll(40, {})
    assert tally_of(poll, ["first"] * 6).winner == ""
    assert tally_of(poll, ["first"] * 7).winner == "result"
    assert tally_of(poll, ["second"] * 25 + ["first"] * 5).winner == "<base>"
    assert tally_of(poll, ["tie"] * 30).sentence.startswith("30 votes, and none that prefers")


def test_judges_are_held_against_the_votes() -> None:
    judged = {
        "judge": [1.0] * 15 + [0.5] * 2,
        "contrary": [0.0] * 16,
        "silent": [],
    }
    tally = tally_of(make_poll(20, judged), ["first"] * 16 + ["tie"] * 2)
    judge, contrary = tally.agreements
    assert (judge.judge, judge.clear, judge.ties, judge.said) == (
        "judge",
        15,
        1,
        "better than a coin",
    )
    assert (contrary.clear, contrary.said) == (16, "worse than a coin")
    assert contrary.rate is not None
    assert contrary.rate.value == 0
    unknown = tally_of(make_poll(20, judged), ["tie"]).agreements[0]
    assert (unknown.rate, unknown.said) == (None, "not known")
    few = tally_of(make_poll(20, judged), ["first"] * 3).agreements[0]
    assert few.said == "not told from a coin"


def test_a_win_rate_takes_a_hundred_votes_and_the_first_judge() -> None:
    truth = [1.0, 1.0, 1.0, 0.0, 0.0] * 60
    choices: list[Preferred] = ["first" if value else "second" for value in truth]
    poll = make_poll(300, {"judge": truth, "check": [0.5] * 300})
    assert tally_of(poll, choices[:99]).win_rate is None
    tally = tally_of(poll, [*choices[:98], "tie", "second"])
    assert tally.win_rate is not None
    assert tally.win_rate.value == pytest.approx(0.6, abs=0.02)
    assert tally.win_rate.high - tally.win_rate.low < 0.12
    assert column(tally.views()[0], 0)[-1] == "win rate of result, ties half, by votes and judge"
    alone = tally_of(make_poll(300, {}), choices[:100])
    assert alone.win_rate is not None
    assert alone.win_rate.high - alone.win_rate.low > 0.15
    assert "bad judge" not in explain(100)


def test_a_report_shows_the_votes_and_nothing_of_a_poll_without(tmp_path: Path) -> None:
    write_run(tmp_path, {"recipe": "isheep", "date": "2025-03-01"})
    poll = make_poll(20, {"judge": [1.0] * 20})
    folder = poll_dir(tmp_path, ("result", "base"))
    write_poll(poll, folder)
    assert read_tallies(tmp_path) == []
    assert "Votes of people" not in write_report(tmp_path).read_text()
    VoteFile(folder).add(poll.pairs[0].id, "first", "first")
    [tally] = read_tallies(tmp_path)
    assert tally.counts["first"] == 1
    page = write_report(tmp_path).read_text()
    assert "Votes of people" in page
    assert "Judges against the votes" in page
    assert "result is preferred to &lt;base&gt; in 100 %" in page
