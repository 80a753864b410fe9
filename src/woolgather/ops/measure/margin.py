"""How much likelier a right answer is than a near miss of it: a measure that chooses and claims nothing.

The one idea: a pass rate moves where an answer turns from wrong to right, and the margin
log p(right | prompt) - log p(near miss | prompt) before that, so that it tells two ways of training
apart with fewer probes. It is no evidence of what a model says by itself, so it carries no claim. Its
probes are of the families that select; held-out tasks have a margin of their own.

Both texts are written by people or programs, and have as many tokens where some near miss has. Where
none has, what is compared are nats per token, times the tokens of the right answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean

from woolgather.core.artifacts import Metrics
from woolgather.core.errors import CapabilityError
from woolgather.core.intervals import Estimate, family_interval
from woolgather.core.rows import JSON, Example
from woolgather.core.views import View, alarm, table, table_cell
from woolgather.engines.base import Engine, LogProb
from woolgather.ops.measure.outcomes import Outcomes, difference
from woolgather.ops.text.item_ids import item_ids
from woolgather.probes import generate, task_of
from woolgather.probes.near_misses import MOST, near_misses, probe_misses
from woolgather.prompting.turns import answer_prompt

TRIED = 3
"""Further near misses that are scored at a time, until one is as long as the right answer."""


@dataclass(frozen=True, slots=True)
class Contest:
    """A task with its right answer, and near misses of it to choose one from."""

    name: str
    """family/number of a probe, or the id of a held-out task, which is a family by itself."""
    task: Example
    right: str
    misses: Sequence[str]
    """The most telling one first; at least one."""


def measure_margin(
    probes: int, seed: int, tasks: Sequence[Example], engine: Engine, notes: list[View]
) -> tuple[dict[str, JSON], dict[str, Outcomes]]:
    """Returns the values and the items that `evaluate` shows of margins, in nats; no probes, no margin.

    Values: `margin` over so many probes of `seed`, `margin_right`, the share of them whose margin is
    above zero, and `margin_heldout`; estimates, None where they were not measured. An engine without
    log-probabilities adds a note to `notes`.
    """
    items: dict[str, Outcomes] = {}
    if probes:
        try:
            items = {
                "margin": find_margins(probe_contests(probes, seed), engine),
                "margin_heldout": find_margins(task_contests(tasks), engine),
            }
        except CapabilityError as error:
            notes.append(alarm("Margin not measured", str(error), "note"))
    found = items.get("margin", {})
    right = {name: None if nats is None else float(nats > 0) for name, nats in found.items()}
    values = {
        "margin": average(found),
        "margin_right": average(right),
        "margin_heldout": average(items.get("margin_heldout", {})),
    }
    return {key: table_cell(value) for key, value in values.items()}, items


@cache
def probe_contests(n: int, seed: int) -> tuple[Contest, ...]:
    """Returns the contests of `n` probes that select, drawn with `seed`; fewer where no near miss is
    known. The first ones do not change with `n`."""
    found: list[Contest] = []
    seen: defaultdict[str, int] = defaultdict(int)
    for probe in generate(n, seed, "select"):
        seen[probe.family] += 1
        if misses := probe_misses(probe):
            name = f"{probe.family}/{seen[probe.family]}"
            found.append(Contest(name, task_of(probe), probe.reference, misses))
    return tuple(found)


def task_contests(tasks: Sequence[Example]) -> list[Contest]:
    """Returns the contests of the tasks that have a response and a check, and a near miss of it."""
    return [
        Contest(name, task, task.response, misses)
        for name, task in zip(item_ids(tasks), tasks, strict=True)
        if task.response.strip() and (check := task.meta.get("check"))
        if (misses := near_misses(task.response, check, task.instruction, task.input))
    ]


def find_margins(contests: Sequence[Contest], engine: Engine) -> dict[str, float | None]:
    """Returns the margin of each contest, in nats, by its name; None where the engine gave none.

    The near miss is the first one with as many tokens as the right answer, else the first. Raises
    CapabilityError when the engine has no log-probabilities.
    """
    answers = [(contest, text) for contest in contests for text in _first_two(contest)]
    scored = _score(answers, engine)
    right, miss = scored[::2], scored[1::2]
    # Most first near misses are as long as the right answer: only the others cost more passes.
    for at in range(1, MOST, TRIED):
        unequal = [i for i in range(len(contests)) if right[i].tokens != miss[i].tokens]
        more = [(i, text) for i in unequal for text in contests[i].misses[at : at + TRIED]]
        found = _score([(contests[i], text) for i, text in more], engine)
        for (i, _), one in zip(more, found, strict=True):
            if one.tokens == right[i].tokens != miss[i].tokens:
                miss[i] = one
    return {c.name: _margin(r, m) for c, r, m in zip(contests, right, miss, strict=True)}


def _first_two(contest: Contest) -> tuple[str, str]:
    return contest.right, contest.misses[0]


def _score(answers: Sequence[tuple[Contest, str]], engine: Engine) -> list[LogProb]:
    form = engine.model.prompt_format
    prompts = [answer_prompt(contest.task, form) for contest, _ in answers]
    return engine.sequence_logprobs(prompts, [text for _, text in answers]) if answers else []


def _margin(right: LogProb, miss: LogProb) -> float | None:
    if not (right.tokens and miss.tokens):
        return None
    nats = right.total - miss.total * (right.tokens / miss.tokens)
    return nats if nats == nats else None  # NaN is what a server may give


def average(found: Outcomes) -> Estimate | None:
    """Returns the mean over families of each family's mean, with its interval over families; None
    without a known value."""
    families: defaultdict[str, list[float]] = defaultdict(list)
    for name, value in found.items():
        if value is not None:
            families[name.rpartition("/")[0] or name].append(value)
    return family_interval([fmean(values) for values in families.values()], list(families))


def compare_margins(a: Outcomes, b: Outcomes) -> Estimate | None:
    """Returns the paired difference a - b in nats, averaged like a margin; None without a common item."""
    both = [(name, mine, b.get(name)) for name, mine in a.items()]
    return average({n: x - y for n, x, y in both if x is not None and y is not None})


def show_margins(models: Mapping[str, Metrics], base: Metrics) -> list[View]:
    """Returns the table of margins beside what the pass rate says of the same models; none where no
    margin was measured."""
    rows: list[list[JSON]] = []
    for name, measure in models.items():
        if not measure.values.get("margin"):
            continue
        gain = None
        if measure is not base:
            gain = compare_margins(measure.items["margin"], base.items.get("margin", {}))
        shown = difference(measure, base, "probes", "report")
        rows.append(
            [
                name,
                table_cell(measure.values["margin"]),
                table_cell(measure.values["margin_right"], "percent"),
                table_cell(gain, "change") if gain else "",
                judge_margin(gain, shown),
            ]
        )
    note = (
        "Nats by which a right answer is likelier than a near miss of it, over the families of probes "
        "that select. This chooses among ways to train and carries no claim. Learned, not shown: the "
        "margin grew, clear of zero, and the pass rate shows no difference."
    )
    columns = ["model", "margin", "right one likelier", "margin vs base", "reading"]
    return [table("Margins: for choosing, not for claims", columns, rows, note)] if rows else []


def judge_margin(gain: Estimate | None, shown: Estimate | None) -> str:
    """Returns what a gain in margin says beside the difference in pass rates that is `shown`: "learned,
    not shown", or nothing."""
    if gain is None or gain.low <= 0 or (shown and (shown.low > 0 or shown.high < 0)):
        return ""
    return "learned, not shown"
