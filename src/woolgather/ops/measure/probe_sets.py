"""Which probes a model is asked, what its answers are worth, and how hard the probes that select are.

The one idea: what selects, what reports and what makes training rows are different families of probes
(probes.generate), and a measure asks only the first two. Every tier reports. One tier selects: the one
in which the base, shown a few answered tasks, passes neither nearly all nor nearly nothing. It is fixed
once, before anything is trained, on probes of a random seed that nothing else uses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from woolgather.core.artifacts import Choice
from woolgather.core.errors import ConfigError
from woolgather.core.expected import Expected
from woolgather.core.intervals import NORMAL, Estimate, smallest_visible, student
from woolgather.core.op import op
from woolgather.core.rows import JSON, Example
from woolgather.core.views import View, table, table_cell
from woolgather.engines.base import Completion, Engine, Sampling
from woolgather.ops.measure.outcomes import rate_of
from woolgather.ops.text.ask import ask_rows
from woolgather.probes import TIERS, Probe, Tier, families_of, generate, task_of
from woolgather.probes.checks import outcome, passes_strictly
from woolgather.prompting.turns import answer_prompt, stops

Measured = Literal["select", "report"]
"""What a set of probes is for, where a model is measured."""
BOTH: tuple[Measured, ...] = ("select", "report")
PROMPT_TOKENS = 60
"""Tokens of a probe or a held-out task, about; for plans."""
SHOT_TOKENS = 100
"""Tokens of an answered task that is shown, about; for plans."""
CALIBRATION = 20_240_815
"""Random seed of the probes that fix the tier; any that no run uses."""
EACH = 60
"""Probes of one family that select, at most: more of them say little new, and a family has an end."""
CHURN = 0.05
"""Share of answers that a training turns each way, from right to wrong and back, without a gain. About
what two system lines did to a model of 135M parameters."""
APART = 0.05
"""How far a family's own gain is from the mean gain, for plans: a standard deviation."""
ROOM = (0.2, 0.8)
"""Pass rates between which a tier can show a gain as well as a loss."""


@dataclass(frozen=True)
class CheckedProbe:
    """A probe, what came back, and what that is worth."""

    probe: Probe
    answer: Completion
    outcome: float | None

    @property
    def verdict(self) -> str:
        if self.outcome is None:
            return "no answer"
        unfinished = self.answer.finish_reason == "length"
        return "pass" if self.outcome else "unfinished" if unfinished else "fail"

    @property
    def strict_outcome(self) -> float | None:
        """Returns the outcome of the answer as it stands, with nothing taken off."""
        if not self.outcome:
            return self.outcome
        return float(passes_strictly(self.answer.text, self.probe.check))


def check_answer(probe: Probe, answer: Completion) -> CheckedProbe:
    """Returns the probe with what its answer is worth: 1, 0, or None where there was none."""
    passed = outcome(answer, probe.check)
    return CheckedProbe(probe, answer, None if passed is None else float(passed))


def probe_sets(
    n: int, seed: int, tier: Tier | None = None, purposes: Sequence[Measured] = BOTH
) -> dict[Measured, list[Probe]]:
    """Returns `n` probes for each purpose, nothing for n = 0. Those that select are of one `tier` or of
    all, and at most EACH per family. Raises ConfigError for purposes that measure nothing."""
    if not n:
        return {}
    if not purposes or not set(purposes) <= set(BOTH) or len(set(purposes)) < len(purposes):
        raise ConfigError(
            f"purposes is {list(purposes)}: name select, report, or both, each once. A model may have "
            "been trained on other probes."
        )
    most = EACH * len(families_of("select", tier))
    found: dict[Measured, list[Probe]] = {}
    for purpose in purposes:
        select = purpose == "select"
        count = min(n, most) if select else n
        found[purpose] = generate(count, seed, purpose, tier if select else None)
    return found


def expect_visible(n: int) -> float:
    """Returns the smallest true difference, in [0, 1], that `n` probes that report see in four of five
    runs, where CHURN of the answers change each way and families gain APART differently."""
    families = min(n, len(families_of("report")))
    effect = 1 + n / families * APART**2 / (2 * CHURN)
    widened = (student(max(1, families - 1)) / NORMAL) ** 2
    return smallest_visible(round(2 * CHURN * n), n, effect * widened)


def count_listed(n: int) -> int:
    """Returns how many probes that report `list_probes` lists where `n` are asked: as many for every n
    up to EACH per family, so that rows stay as they are when a model is measured on more."""
    return max(n, EACH * len(families_of("report")))


def _expect_listed(*, reporting: int, **_: object) -> Expected:
    return Expected(rows=reporting + EACH * len(families_of("select")))


@op("list_probes", expects=_expect_listed)
def list_probes(*, reporting: int, probe_seed: int) -> Iterator[Example]:
    """Yields the tasks of all probes that select, of every tier, and of those that report, without
    answers: what no training row may be like."""
    selecting = EACH * len(families_of("select"))
    yield from map(task_of, generate(selecting, probe_seed, "select"))
    yield from map(task_of, generate(reporting, probe_seed, "report"))


def _work(
    shots: Iterable[Example], engine: Engine, *, probes: int, max_tokens: int, **_: object
) -> Expected:
    length = PROMPT_TOKENS + 5 * SHOT_TOKENS
    return Expected(
        calls=probes, prompt_tokens=probes * length, new_tokens=probes * max_tokens, value="easy"
    )


@op("choose_tier", version=2, expects=_work)
def choose_tier(
    shots: Iterable[Example],
    engine: Engine,
    *,
    probes: int = 72,
    max_tokens: int = 128,
    seed: int = 0,
) -> Choice:
    """Returns the tier of the probes that select: of those in which the model behind `engine`, shown
    `shots`, passes a fifth to four fifths, the one nearest to a half; where there is none, the nearest
    of all.

    `probes` are asked, a third of each tier, of the families that select. Raises ConfigError for fewer
    than three.
    """
    if probes < len(TIERS):
        raise ConfigError(
            f"measure.calibration={probes} cannot fix a tier: give {8 * len(TIERS)} probes or more, or "
            "name one, such as measure.tier=easy."
        )
    shown, form = list(shots), engine.model.prompt_format
    sampling = Sampling(temperature=0.0, max_tokens=max_tokens, stop=stops(form, shown))
    rates: dict[Tier, Estimate | None] = {}
    for tier in TIERS:
        asked = generate(probes // len(TIERS), CALIBRATION, "select", tier)
        found = ask_rows(
            asked, engine, lambda p: answer_prompt(task_of(p), form, shown), sampling, seed
        )
        answered = [check_answer(probe, answer) for probe, answer, _ in found]
        rates[tier] = rate_of({each.probe.id: each.outcome for each in answered})
    known = {tier: rate.value for tier, rate in rates.items() if rate}
    tier = min(known, key=lambda each: abs(known[each] - 0.5), default=TIERS[0])
    told = ", ".join(f"{each} {100 * value:.0f} %" for each, value in known.items())
    why = f"the base, shown {len(shown)} answered tasks, passes {told or 'nothing that could be asked'}"
    low, high = ROOM
    if not low <= known.get(tier, 0.0) <= high:
        why += f"; none is between {low:.0%} and {high:.0%}, and this one comes nearest"
    return Choice(tier, why, views=(_show_tiers(rates, tier),))


def _show_tiers(rates: dict[Tier, Estimate | None], chosen: Tier) -> View:
    rows: list[list[JSON]] = [
        [
            tier + (" ← selects" if tier == chosen else ""),
            len(families_of("select", tier)),
            table_cell(rate, "percent") or "not measured",
        ]
        for tier, rate in rates.items()
    ]
    note = (
        "Probes that nothing else asks. The fewer families a tier has, the larger a gain must be to be "
        "clear of zero where it selects. All tiers report."
    )
    return table("Tiers of the probes that select", ["tier", "families", "passed"], rows, note)
