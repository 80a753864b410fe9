"""Each keep rule, its reasons, and the assessors it refuses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from woolgather.core.errors import CapabilityError, ConfigError, YieldError
from woolgather.core.rows import Example, Verdict
from woolgather.core.views import View
from woolgather.engines.fake import FakeEngine
from woolgather.ops.curate.keep import By, KeepRule, keep
from woolgather.ops.judge.assessors import Assessor

RUBRIC = Assessor(kind="rubric", scope="across", scale=(1, 10))
INFORMATION = Assessor(kind="mutual_information", scope="across")


RATED = {"rows": ("verdicts",)}


def row(i: int, prompt: str = "", words: int = 5, **scores: float | None) -> Example:
    return Example(
        id=f"r{i}",
        instruction=f"task {i}",
        response="w " * words,
        meta={"prompt_id": prompt or f"p{i}"},
        verdicts={name: Verdict(score) for name, score in scores.items()},
    )


def reasons(rows: list[Example], rule: KeepRule, **more: object) -> list[str | None]:
    return [r.set_aside for r in keep(rows, rule=rule, **more)]  # type: ignore[arg-type]


def test_rows_without_any_verdict_are_not_kept_in_silence() -> None:
    rows = [Example(id=str(i), instruction="a", response="b") for i in range(3)]
    rated = Assessor(kind="rubric", verdicts=("quality", "following"))
    for by in ("threshold", "fraction", "best_of_n"):
        with pytest.raises(YieldError, match="None of the 3 rows has a verdict that can be read"):
            list(keep(rows, rule=KeepRule(by=by), assessor=rated))  # type: ignore[arg-type]


def test_threshold_is_strict_and_on_every_verdict() -> None:
    rows = [
        row(0, quality=9, following=9),
        row(1, quality=8, following=10),
        row(2, quality=10, following=None),
    ]
    rule = KeepRule(by="threshold")
    assert reasons(rows, rule, assessor=RUBRIC) == [None, "below_threshold", "unreadable"]
    one = KeepRule(by="threshold", on=("quality",))
    assert reasons(rows, one, assessor=RUBRIC) == [None, "below_threshold", None]
    low = KeepRule(by="threshold", above=7)
    assert reasons(rows, low, assessor=RUBRIC) == [None, None, "unreadable"]


def test_threshold_without_a_scale_is_an_error_with_a_remedy() -> None:
    rows = [row(0, mutual_information=3.0)]
    with pytest.raises(ConfigError, match=r"no scale.*keep\.by=fraction"):
        reasons(rows, KeepRule(by="threshold"), assessor=INFORMATION)


def test_fraction_takes_the_best_of_each_length() -> None:
    rows = [row(i, words=5 if i < 8 else 50, m=float(i)) for i in range(16)]
    with_quota = reasons(rows, KeepRule(by="fraction", fraction=0.5), assessor=INFORMATION)
    kept = [i for i, reason in enumerate(with_quota) if reason is None]
    assert sum(i < 8 for i in kept) == sum(i >= 8 for i in kept) == 4
    plain = KeepRule(by="fraction", fraction=0.5, quota=False)
    without = reasons(rows, plain, assessor=INFORMATION)
    assert [i for i, reason in enumerate(without) if reason is None] == list(range(8, 16))


def test_best_of_n_keeps_one_a_prompt() -> None:
    rows = [row(0, "a", m=1.0), row(1, "a", m=2.0), row(2, "b", m=0.5), row(3, "b", m=None)]
    assert reasons(rows, KeepRule(by="best_of_n"), assessor=INFORMATION) == [
        "not_best_of_prompt",
        None,
        None,
        "unreadable",
    ]


def views_of(rows: list[Example], rule: KeepRule, assessor: Assessor) -> list[View]:
    views: list[View] = []

    def drained() -> Iterator[Example]:
        views.extend((yield from keep(rows, rule=rule, assessor=assessor)))

    list(drained())
    return views


@pytest.mark.parametrize("by", ["auto", "best_of_n"])
def test_a_judge_within_prompts_that_had_nothing_to_choose_from_is_told(by: By) -> None:
    within = Assessor(kind="channel", scope="within", fit=True)
    alone = [row(0, "a", m=1.0), row(1, "b", m=2.0), row(2, "c", m=None), row(3, "a", m=None)]
    assert reasons(alone, KeepRule(by=by), assessor=within)[:2] == [None, None]
    (told,) = (v for v in views_of(alone, KeepRule(by=by), within) if v.kind == "alarm")
    assert told.title == "The judge chose nothing"
    assert told.data["level"] == "warning"
    assert "every row that could be read was kept" in told.data["text"]
    assert "respond.samples=2" in told.data["text"]
    for rows in ([*alone, row(4, "a", m=0.5)], []):
        assert not [v for v in views_of(rows, KeepRule(by=by), within) if v.kind == "alarm"]


def test_short_answers_are_voted_on() -> None:
    said = ["Paris", "Rome", "paris."]
    rows = [replace(row(i, "a", m=float(i == 1)), response=text) for i, text in enumerate(said)]
    plain = reasons(rows, KeepRule(by="best_of_n"), assessor=INFORMATION)
    assert plain.index(None) == 1
    voted = reasons(rows, KeepRule(by="best_of_n", vote_words=3), assessor=INFORMATION)
    assert voted.index(None) == 0


@pytest.mark.parametrize(
    ("assessor", "first"),
    [
        (RUBRIC, "Kept by threshold"),
        (INFORMATION, "Kept by fraction"),
        (Assessor(kind="channel", scope="within"), "Kept by best_of_n"),
        (Assessor(kind="none"), "Kept by all"),
    ],
)
def test_auto_follows_what_the_assessor_may_do(assessor: Assessor, first: str) -> None:
    views = views_of([row(i, m=float(i)) for i in range(3)], KeepRule(), assessor)
    assert views[0].title == first


def test_hired_within_prompts_may_not_rank_prompts() -> None:
    within = Assessor(kind="channel", scope="within", fit=True)
    with pytest.raises(ConfigError, match="one prompt only"):
        reasons([row(0, channel=1.0)], KeepRule(by="fraction"), assessor=within)


def test_perplexity_and_density_need_an_engine_and_use_it() -> None:
    rows = [row(i) for i in range(12)]
    with pytest.raises(CapabilityError):
        reasons(rows, KeepRule(by="perplexity"))
    # The fake's perplexity lies between e and e^2.
    strict = reasons(rows, KeepRule(by="perplexity", perplexity=2), engine=FakeEngine())
    assert set(strict) == {"high_perplexity"}
    loose = reasons(rows, KeepRule(by="perplexity", perplexity=50), engine=FakeEngine())
    assert set(loose) == {None}
    for by, reason in (
        ("density", "not_drawn_from_cluster"),
        ("density_perplexity", "not_lowest_perplexity_of_cluster"),
    ):
        got = Counter(reasons(rows, KeepRule(by=by, clusters=4), engine=FakeEngine()))  # type: ignore[arg-type]
        assert got[None] <= 4
        assert got[None] + got[reason] == 12


def test_limit_and_random() -> None:
    rows = [row(i) for i in range(10)]
    first = reasons(rows, KeepRule(by="random", limit=4), seed=1)
    assert Counter(first) == {None: 4, "over_limit": 6}
    assert first == reasons(rows, KeepRule(by="random", limit=4), seed=1)
    assert first != reasons(rows, KeepRule(by="random", limit=4), seed=2)
    assert Counter(reasons(rows, KeepRule(by="all"), limit=3))[None] == 3


def test_at_least_includes_its_bound() -> None:
    rows = [row(0, curation=5), row(1, curation=4.5), row(2, curation=None)]
    five = Assessor(kind="rubric", scope="across", scale=(1, 5), verdicts=("curation",))
    for rule, wanted in (
        (KeepRule(by="threshold", at_least=5), [None, "below_threshold", "unreadable"]),
        (KeepRule(by="auto", at_least=4.5), [None, None, "unreadable"]),
    ):
        assert reasons(rows, rule, assessor=five) == wanted


@pytest.mark.parametrize("by", ["threshold", "fraction", "best_of_n"])
@pytest.mark.parametrize("on", [(), ("quality",)])
def test_where_no_verdict_can_be_read_it_stops(by: Any, on: tuple[str, ...]) -> None:
    named = Assessor(kind="rubric", scale=(1, 10), verdicts=("quality",))
    rule = KeepRule(by=by, on=on)
    unread = [row(i, quality=None) for i in range(4)]
    with pytest.raises(YieldError, match=r"None of the 4 rows has a verdict.*\(quality\)"):
        reasons(unread, rule, assessor=named)
    assert None in reasons([*unread, row(4, quality=9)], rule, assessor=named)
    assert reasons([], rule, assessor=named) == []


def test_what_it_needs_of_given_rows_follows_from_the_rule() -> None:
    quality = Assessor(kind="rubric", scale=(1, 10), verdicts=("quality",))
    rules: list[Any] = ["auto", "threshold", "random", "perplexity"]
    found = {by: keep.needs(rule=KeepRule(by=by), assessor=quality) for by in rules}
    assert found == {"auto": RATED, "threshold": RATED, "random": {}, "perplexity": {}}
    assert keep.needs(rule=KeepRule(by="auto"), assessor=Assessor(kind="none")) == {}
    named = KeepRule(by="fraction", on=("quality", "following"))
    wanted = {"rows": ("verdicts.quality", "verdicts.following")}
    assert keep.needs(rule=named, assessor=quality) == wanted


def test_a_threshold_is_taken_as_rows_stream_by() -> None:
    taken = 0

    def endless() -> Iterator[Example]:
        nonlocal taken
        while True:
            taken += 1
            yield row(taken, curation=taken % 6)

    named = Assessor(kind="rubric", scope="across", scale=(1, 5), verdicts=("curation",))
    stream = keep(endless(), rule=KeepRule(by="threshold", at_least=5), assessor=named)
    assert sum(next(stream).set_aside is None for _ in range(60)) == 10
    assert taken == 60


def test_a_random_choice_is_the_same_whether_rows_are_held_or_stream() -> None:
    rows = [row(i, quality=i) for i in range(50)]
    rule = KeepRule(by="random")
    held = reasons(iter(rows), rule, limit=9, seed=4)  # type: ignore[arg-type]
    assert held.count(None) == 9
    assert reasons(rows, rule, limit=9, seed=4) == held
