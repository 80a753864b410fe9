"""Choose an assessor by audition: try each on pairs whose order is known, before it rates anything.

The one idea: on a small model most ways of judging are no better than chance, or than counting
words, and nobody can tell from the verdicts. So each candidate scores the same pairs
(audition_pairs.py) and is compared with controls that ask no model, length and word overlap, and with
chance, which is .5.

What is measured, for each kind of pair, and as the plain mean over kinds:
- across: AUC of all better answers over all worse ones, whatever their prompt. A candidate chosen
  on this may rank prompts against each other.
- within: the share of pairs in order, one prompt at a time. A candidate chosen only on this may
  pick the best of several answers to one prompt.
A score that could not be read is a tie with every other.

Fit is a candidate whose difference from chance and from either control (in its better direction) has
a 95 % interval above zero. Chance is .5 itself: against one realised random draw, which has luck of its
own, an assessor with a true AUC of .64 passed 64 % of simulated auditions, and 93 % of them without.
Intervals are
bootstrapped over the seeds and probes that the pairs came from, the same draws for all, so that
differences are paired. Of several that are fit, the best across prompts is chosen; if none is, the
best within.

Mutual information prefers short answers per token and long ones in total, so it is divided by n^a:
a is taken from 0, .05, ..., 1 where the rank correlation with length over the seeds is nearest zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from woolgather.core.artifacts import Choice
from woolgather.core.errors import CapabilityError, ConfigError, YieldError
from woolgather.core.expected import Expected
from woolgather.core.intervals import Estimate, interval
from woolgather.core.op import op
from woolgather.core.options import Options
from woolgather.core.rows import JSON, Example
from woolgather.core.views import View, alarm, table, table_cell
from woolgather.engines.base import Engine
from woolgather.ops.judge.assessors import (
    CANDIDATES,
    CONTROLS,
    Assessor,
    Candidate,
    Questionnaire,
    calls_per_row,
    scale_of,
    tokens_per_call,
    verdict_names,
)
from woolgather.ops.judge.audition_pairs import (
    BUILT,
    KINDS,
    WRONG,
    Pair,
    PairKind,
    SampledAnswers,
    build_pairs,
    sample_pairs,
)
from woolgather.ops.judge.audition_scores import SCOPES, Act, Scope, Stage
from woolgather.ops.text.words import count_words

MIN_GROUPS = 12
"""Seeds and probes behind the pairs under which no interval means anything and nobody is fit."""
SAMPLED_TOKENS = 60
"""Tokens of a probe that answers are drawn for, about; for plans."""


class AuditionOptions(Options):
    """Who is tried, on how much, and what becomes of it."""

    candidates: tuple[Candidate, ...] = CANDIDATES
    """Who may apply."""
    pairs: int = Field(default=200, ge=8)
    """Pairs in an audition, over all kinds."""
    probes: int = Field(default=60, ge=0)
    """Generated test prompts whose checked answers are one kind of pair; 0 leaves that kind out."""
    on_unfit: Literal["stop", "keep_best", "keep_all"] = "keep_best"
    """When nobody beats the controls: end the run, take the best all the same, or rate nothing."""

    @property
    def kinds(self) -> tuple[PairKind, ...]:
        """The kinds of pairs that are tried."""
        return KINDS if self.probes else BUILT

    @property
    def per_kind(self) -> int:
        """Pairs of each kind, at most."""
        return max(1, self.pairs // len(self.kinds))

    def __canonical__(self) -> dict[str, JSON]:
        """The fields above: what a subclass adds is for other steps, and no part of an audition."""
        return {name: getattr(self, name) for name in AuditionOptions.model_fields}


def _work(
    seeds: Iterable[Example],
    engine: Engine,
    *,
    how: AuditionOptions,
    asked: Questionnaire,
    sampled: SampledAnswers,
    **_: object,
) -> Expected:
    per_kind = how.per_kind
    if isinstance(seeds, Sized):
        per_kind = min(per_kind, len(seeds))
    rows = 2 * per_kind * len(how.kinds)
    tried = {kind: Assessor(kind=kind) for kind in how.candidates}
    calls = {kind: rows * calls_per_row(tried[kind], asked.rubrics) for kind in tried}
    read = sum(calls[kind] * tokens_per_call(tried[kind]) for kind in tried)
    answers = how.probes * sampled.samples
    written = calls.get("rubric", 0) * asked.sampling.max_tokens
    first = Assessor(kind=how.candidates[0] if how.candidates else "none", fit=True)
    return Expected(
        calls=sum(calls.values()) + answers,
        # The answers to one probe share its prompt.
        prompt_tokens=read + how.probes * SAMPLED_TOKENS,
        new_tokens=written + answers * sampled.sampling.max_tokens,
        value=_value(first, asked),
    )


@op("audition", version=4, expects=_work)
def audition(
    seeds: Iterable[Example],
    engine: Engine,
    *,
    how: AuditionOptions = AuditionOptions(),  # noqa: B008 - frozen
    asked: Questionnaire = Questionnaire(),  # noqa: B008 - frozen
    sampled: SampledAnswers = SampledAnswers(),  # noqa: B008 - frozen
    seed: int = 0,
) -> Choice:
    """Returns which assessor rates, as the fields of `Assessor`; why and tables hold the evidence.

    `seeds` are answered tasks. The kinds of pairs share `how.pairs` equally; the sampled kind is made
    of the engine's own answers to `how.probes` probes, and left out when fewer than five of them have
    both a passing and a failing answer. Candidates the engine cannot do are left out.

    When none is fit: "stop" raises YieldError; "keep_best" takes the best all the same, with
    `fit` false and a warning (a candidate named alone is so used as named); "keep_all" chooses kind
    "none", so that rows are kept unrated. Raises ConfigError without candidates, CapabilityError
    when the engine can do none of them.
    """
    if not how.candidates:
        raise ConfigError(f"an audition needs candidates: some of {', '.join(CANDIDATES)}")
    tried = _pairs(list(seeds), engine, how, sampled, seed)
    if not tried:
        raise YieldError(
            "no audition is possible: no seed has a response that differs from the others'. Give "
            "seeds with responses, or name an assessor and skip the audition."
        )
    stage = Stage(tried, engine, asked, seed)
    controls = [stage.hear(Assessor(kind=kind)) for kind in CONTROLS]
    heard, refused = [], []
    for kind in how.candidates:
        try:
            heard.append(stage.hear(Assessor(kind=kind)))
        except CapabilityError as error:
            refused.append((kind, error))
    if not heard:
        raise refused[0][1]
    judged = {act.name: _judge_act(act, controls, stage.groups) for act in heard}
    views = [_table(stage.kinds, heard, controls, judged), _make_up(tried)]
    views += [alarm(f"Not tried: {k}", str(e), "note") for k, e in refused]
    return _decide(heard, judged, how, asked, views)


def _pairs(
    seeds: Sequence[Example],
    engine: Engine,
    how: AuditionOptions,
    sampled: SampledAnswers,
    seed: int,
) -> list[Pair]:
    shots = [s for s in seeds if 3 <= count_words(s.response) <= 40][:3]
    own = sample_pairs(engine, how.probes, sampled, limit=how.per_kind, shots=shots, seed=seed)
    return build_pairs(seeds, how.per_kind, seed) + (own if len(own) >= 5 else [])


# Deciding


@dataclass(frozen=True)
class _Judgement:
    fit: dict[Scope, bool]
    margin: dict[Scope, Estimate]
    """Over the control that comes closest, or over chance."""
    rival: dict[Scope, str]


def _judge_act(act: Act, controls: Sequence[Act], groups: int) -> _Judgement:
    fit: dict[Scope, bool] = {}
    margin: dict[Scope, Estimate] = {}
    rival: dict[Scope, str] = {}
    for scope in SCOPES:
        mine = act.overall[scope]
        ahead = {"chance": interval(act.draws[scope] - 0.5, mine.value - 0.5, mine.count)}
        for control in controls:
            value, draws = control.overall[scope].value, control.draws[scope]
            if value < 0.5:
                value, draws = 1 - value, 1 - draws
            ahead[control.name] = interval(act.draws[scope] - draws, mine.value - value, mine.count)
        rival[scope] = min(ahead, key=lambda name: ahead[name].value)
        margin[scope] = ahead[rival[scope]]
        clear = all(each.above_zero for each in ahead.values())
        fit[scope] = clear and groups >= MIN_GROUPS
    return _Judgement(fit, margin, rival)


def _decide(
    heard: Sequence[Act],
    judged: Mapping[str, _Judgement],
    how: AuditionOptions,
    asked: Questionnaire,
    views: Sequence[View],
) -> Choice:
    for scope in SCOPES:
        fit = [act for act in heard if judged[act.name].fit[scope]]
        if fit:
            best = max(fit, key=lambda act: act.overall[scope].value)
            chosen = best.assessor.model_copy(update={"scope": scope, "fit": True})
            why = f"{_describe(best, judged[best.name], scope)}: chosen {scope} prompts"
            return Choice(_value(chosen, asked), why, views=(*_warn_blind(best, scope), *views))
    best = max(heard, key=lambda act: act.overall["across"].value)
    why = f"no assessor is fit; the best: {_describe(best, judged[best.name], 'across')}"
    if how.on_unfit == "stop":
        raise YieldError(
            f"{why}. A judge like that picks no better than chance or than counting words. Name a "
            "stronger judge model, add seeds with responses, or say what to do instead: "
            "on_unfit=keep_best uses it all the same, on_unfit=keep_all keeps every row that "
            "passes the rules."
        )
    if how.on_unfit == "keep_all":
        chosen = Assessor(kind="none", scope="none", fit=False)
        told = alarm("No judge was chosen", f"{why}. Rows are kept unrated.")
    else:
        scale = scale_of(best.assessor, asked.rubrics)
        update = {"scope": "across" if scale else "within", "fit": False}
        chosen = best.assessor.model_copy(update=update)
        told = alarm("The judge failed its audition", f"{why}. It rates all the same, as asked.")
    return Choice(_value(chosen, asked), why, views=(told, *views))


def _warn_blind(act: Act, scope: Scope) -> list[View]:
    """Tells of an assessor that is fit by topic and fluency alone."""
    wrong = {kind: act.kinds[kind][scope] for kind in WRONG if kind in act.kinds}
    if not wrong or any(found.low > 0.5 for found in wrong.values()):
        return []
    shown = ", ".join(f"{kind} {found.format('.2f')}" for kind, found in wrong.items())
    text = (
        f"The chosen assessor, {act.name.replace('_', ' ')}, is not seen to tell fluent wrong answers "
        f"from right ones ({shown}; .5 is chance): it passed by topic, conditions and word order."
    )
    return [alarm("Blind to wrong facts", text)]


def _value(assessor: Assessor, asked: Questionnaire) -> dict[str, JSON]:
    named = {
        "verdicts": verdict_names(assessor, asked.rubrics),
        "scale": scale_of(assessor, asked.rubrics),
    }
    return assessor.model_copy(update=named).model_dump(mode="json")


def _describe(act: Act, judgement: _Judgement, scope: Scope) -> str:
    name = act.name.replace("_", " ")
    if act.name == "mutual_information":
        name += f" / n^{act.assessor.exponent:g}"
    unit = "AUC across prompts" if scope == "across" else "pairs in order within prompts"
    ahead = judgement.margin[scope]
    return (
        f"{name}, {unit} {act.overall[scope].format('.2f')}, ahead of {judgement.rival[scope]} by "
        f"{ahead.format('+.2f')}"
    )


def _table(
    kinds: Sequence[str],
    heard: Sequence[Act],
    controls: Sequence[Act],
    judged: Mapping[str, _Judgement],
) -> View:
    columns = ["assessor", *kinds, "all, across", "all, within", "length", "readable", "verdict"]
    rows: list[list[JSON]] = []
    for act in [*heard, *controls]:
        verdict = "control"
        if act.name in judged:
            fit = judged[act.name].fit
            verdict = "fit across" if fit["across"] else "fit within" if fit["within"] else "unfit"
        name = act.name
        if name == "mutual_information":
            name += f" / n^{act.assessor.exponent:g}"
        rows.append(
            [
                name,
                *[table_cell(act.kinds[kind]["across"], "score") for kind in kinds],
                table_cell(act.overall["across"], "score"),
                table_cell(act.overall["within"], "score"),
                None if act.length is None else round(act.length, 2),
                table_cell(act.readable, "percent"),
                verdict,
            ]
        )
    note = (
        "AUC of better over worse answers with its 95 % interval; .5 is chance. length: rank "
        "correlation of the score with the response's length over the seeds."
    )
    return table("Audition", columns, rows, note)


def _make_up(pairs: Sequence[Pair]) -> View:
    rows = [
        [kind, len(of), len({p.group for p in of})]
        for kind in KINDS
        if (of := [p for p in pairs if p.kind == kind])
    ]
    return table("Pairs of the audition", ["kind", "pairs", "from seeds or probes"], rows)
