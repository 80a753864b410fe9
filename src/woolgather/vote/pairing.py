"""The pairs of a poll: two models' answers to the prompts that both were measured on.

The one idea: what people vote on is what the run measured. First its held-out tasks, then as many of
its probes as make a poll large enough; where two answers are the same there is nothing to vote on.
Each pair takes along what machines said of it: the judge of the win rate, the prompt's own check, and
the margin over a near miss.
"""

from __future__ import annotations

import difflib
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from woolgather.core.errors import InputError, MistakeError
from woolgather.core.rows import Example, question
from woolgather.core.storage import read_rows
from woolgather.engines.base import Completion
from woolgather.ops.judge.win_rate import win_rate
from woolgather.ops.text.item_ids import item_ids
from woolgather.probes.checks import outcome
from woolgather.report.votes.ballot import (
    PAIRS,
    AnswerPair,
    Poll,
    Side,
    poll_dir,
    read_poll,
    write_poll,
)
from woolgather.runs.record import METRICS, StepRecord
from woolgather.vote.answers import (
    Answerer,
    MeasuredItem,
    Steps,
    held_out_items,
    measured_models,
    probe_items,
)

POOL = 200
"""Prompts of a poll, where the held-out tasks alone are fewer."""
JUDGE, CHECK, MARGIN = "judge of the win rate", "check of the prompt", "margin over a near miss"
"""What may have judged a pair: an assessor, the prompt's own check, and the likelihood of its right
answer against a wrong one."""


def choose_models(run_dir: Path, steps: Steps, between: str = "") -> tuple[str, str]:
    """Returns the two models of `between`, "NAME,NAME"; without it the result and the base, or the last
    model that was measured where the base is the result.

    Raises InputError for a name that no model of the run has, MistakeError for a run or an option
    without two models.
    """
    known = measured_models(steps)
    if between:
        first, comma, second = (part.strip() for part in between.partition(","))
        for name in (first, second):
            if name and name not in known:
                raise InputError(
                    f"{run_dir} has no measured model {name!r}. {_nearest(name, known)}"
                )
        if not comma or not first or not second or _same(known, first, second):
            raise MistakeError(
                f"--between {between}: name two different models, such as --between iter0,base. "
                f"This run has {', '.join(known) or 'none'}."
            )
        return first, second
    others = [name for name in known if name not in ("base", "result")]
    tuned = [name for name in others if not name.startswith("control/") and name != "chat"]
    if "result" in known and not _same(known, "result", "base"):
        tuned = ["result"]
    if "base" not in known or not tuned:
        raise MistakeError(
            f"{run_dir} has measured {', '.join(known) or 'no model'} with this version, and a vote is "
            "between two models; give the same `woolgather run` command again, which measures what "
            "is missing."
        )
    return tuned[-1], "base"


def _same(known: Mapping[str, StepRecord], first: str, second: str) -> bool:
    return known[first].fingerprint == known[second].fingerprint


def _nearest(name: str, known: Mapping[str, StepRecord]) -> str:
    near = difflib.get_close_matches(name, known, 1, cutoff=0.5)
    meant = f"Did you mean {near[0]}? " if near else ""
    return f"{meant}It has {', '.join(known) or 'none'}."


def make_poll(
    run_dir: Path, steps: Steps, models: tuple[str, str], answerer: Answerer, pool: int = POOL
) -> Poll:
    """Returns the poll between two measured models, written to the run's directory. Sides and order stay
    those of an earlier poll between them. Raises MistakeError where no two answers differ."""
    pairs = list(_pairs(run_dir, steps, models, answerer, pool))
    different = {pair.id: pair for pair in pairs if pair.first.strip() != pair.second.strip()}
    if not different:
        raise MistakeError(
            f"{models[0]} and {models[1]} have no prompt on which both answered and their {len(pairs)} "
            "answers differ, so there is nothing to vote on; take --between of other models."
        )
    folder = poll_dir(run_dir, models)
    before = read_poll(folder) if (folder / PAIRS).is_file() else None
    salt = before.salt if before else secrets.token_hex(8)
    poll = Poll(models, salt, list(different.values()))
    write_poll(poll, folder)
    return poll


def _pairs(
    run_dir: Path, steps: Steps, models: tuple[str, str], answerer: Answerer, pool: int
) -> Iterator[AnswerPair]:
    """Yields a pair for each prompt that both models answered."""
    known = measured_models(steps)
    measures = [known[name] for name in models]
    tasks = [held_out_items(measure, run_dir, steps) for measure in measures]
    probes = [probe_items(measure)[: max(0, pool - len(tasks[0]))] for measure in measures]
    answers = [
        answerer.ask(name, measure, [*own, *asked])
        for name, measure, own, asked in zip(models, measures, tasks, probes, strict=True)
    ]
    compared = _read_comparisons(run_dir, steps, models, known)
    margins = [_margins(run_dir, steps, measure) for measure in measures]
    others = {question(item.task): item for item in chain(tasks[1], probes[1])}
    for item in chain(tasks[0], probes[0]):
        other = others.get(question(item.task))
        if other is None or item.name not in answers[0] or other.name not in answers[1]:
            continue
        asked = _Compared(answers[0][item.name], answers[1][other.name])
        both = compared.get(question(item.task), asked)
        yield AnswerPair(
            "probe" if item.task.meta.get("family") else "held-out task",
            item.task.instruction,
            item.task.input,
            item.task.system,
            both.first.text.strip(),
            both.second.text.strip(),
            {
                **({} if both.preferred is None else {JUDGE: both.preferred}),
                **_preference(CHECK, _check(item, both.first), _check(item, both.second)),
                **_preference(MARGIN, margins[0].get(item.name), margins[1].get(other.name)),
            },
            both.cut,
        )


def _check(item: MeasuredItem, answer: Completion) -> bool | None:
    check = item.task.meta.get("check")
    return outcome(answer, check) if check else None


def _preference(judge: str, first: float | None, second: float | None) -> dict[str, float]:
    """How far a measure of both answers prefers the first; nothing where one was not measured."""
    if first is None or second is None:
        return {}
    return {judge: 0.5 + 0.5 * ((first > second) - (first < second))}


def _margins(run_dir: Path, steps: Steps, measure: StepRecord) -> Mapping[str, float | None]:
    """The margins of a measure on held-out tasks, by item; empty where they were not measured."""
    path = next(run_dir / e["path"] for e, r in steps if r.fingerprint == measure.fingerprint)
    return _items_of(path).get("margin_heldout", {})


def _items_of(folder: Path) -> dict[str, dict[str, float | None]]:
    found: dict[str, dict[str, float | None]] = json.loads((folder / METRICS).read_bytes())["items"]
    return found


@dataclass(frozen=True)
class _Compared:
    """Two answers to a prompt, and how far the judge of the win rate prefers the first; None where it
    did not compare them."""

    first: Completion
    second: Completion
    preferred: float | None = None

    @property
    def cut(self) -> tuple[Side, ...]:
        """Returns the answers that were cut at the limit of tokens."""
        ends: tuple[tuple[Side, Completion], ...] = (("first", self.first), ("second", self.second))
        return tuple(side for side, answer in ends if answer.finish_reason == "length")


def _read_comparisons(
    run_dir: Path, steps: Steps, models: tuple[str, str], known: Mapping[str, StepRecord]
) -> dict[str, _Compared]:
    """Returns what the judge of the win rate compared, by prompt: the answers of the result and the
    base; empty where there was none, or the poll is between others."""
    step = next(((e, r) for e, r in steps if r.op == win_rate.name), None)
    sides = [
        next((s for s in ("result", "base") if s in known and _same(known, name, s)), "")
        for name in models
    ]
    if step is None or sorted(sides) != ["base", "result"]:
        return {}
    entry, record = step
    folders = {r.fingerprint: run_dir / e["path"] for e, r in steps}
    args = record.payload["args"]
    ours, theirs = (_answers_in(folders[args[side]["artifact"]]) for side in ("ours", "theirs"))
    answered = {question(row): row for row in theirs}
    mine = [row for row in ours if question(row) in answered]
    wins = _items_of(run_dir / entry["path"]).get("wins", {})
    found = {}
    for name, row in zip(item_ids(mine), mine, strict=True):
        ends, won = (_completion(row), _completion(answered[question(row)])), wins.get(name)
        if sides[0] == "base":
            ends, won = ends[::-1], None if won is None else 1 - won
        found[question(row)] = _Compared(*ends, won)
    return found


def _answers_in(folder: Path) -> list[Example]:
    rows = (row for row in read_rows(folder) if row.set_aside is None)
    return [row for row in rows if isinstance(row, Example)]


def _completion(row: Example) -> Completion:
    return Completion(row.response, "length" if row.finish_reason == "length" else "stop")
