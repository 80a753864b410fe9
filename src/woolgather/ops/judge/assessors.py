"""How a judge model is made to rate rows: each assessor by its kind.

The one idea: an assessor is a kind and a few parameters, data that an audition can hand over, and
`rate` turns rows into verdicts whichever kind it is. `rubric` lets the judge write; `expected`
reads the same question as a distribution over scores; `yes_no`, `mutual_information` and `channel`
read likelihoods; `length` and `overlap` ask no model and are what a real one must beat.

Likelihoods of an answer y to a task x: p(y|x) is taken after the task put as a user turn (chat) or
as text and a line end (raw); p(y) after the same with an empty task, so that both differ in nothing
but the task: for chat the template with an empty user turn, for raw a bare line end. Their difference
is -n times the log of the ratio of the two perplexities of y, over its n tokens; Superfiltering (arXiv
2402.00530) rates instructions by that ratio.

This module does not decide which assessor is any good (see audition) nor which rows stay (keep).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

from pydantic import Field

from woolgather.core.artifacts import Choice
from woolgather.core.fingerprint import seed_of
from woolgather.core.options import Options
from woolgather.core.rows import Example, Verdict, question
from woolgather.engines.base import Engine, LogProb, Sampling
from woolgather.ops.judge.rubrics import FIELDS, Rubric, rubrics_of, slot_prompt
from woolgather.ops.text.ask import ask_rows, no_reply
from woolgather.ops.text.words import count_words, tokens
from woolgather.prompting.forms import is_text
from woolgather.prompting.messages import Prompt
from woolgather.prompting.templates import Template, load
from woolgather.prompting.turns import answer_prompt

Candidate = Literal["rubric", "expected", "yes_no", "mutual_information", "channel"]
Control = Literal["length", "overlap"]
CANDIDATES: tuple[Candidate, ...] = get_args(Candidate)
CONTROLS: tuple[Control, ...] = get_args(Control)


class Assessor(Options):
    """How rows are rated; the value of an audition's Choice."""

    kind: Candidate | Control | Literal["none"] = "rubric"
    """rubric: the judge writes a score; expected: the mean of its distribution over scores; yes_no:
    log-odds that the response is right; mutual_information: log p(y|x) - log p(y); channel: log
    p(x|y) per token; length, overlap: controls; none: rows are not rated."""
    exponent: float = Field(default=1.0, ge=0, le=1)
    """mutual_information is divided by (tokens of y) to this power: 0 the total, 1 per token."""
    scope: Literal["across", "within", "none"] = "across"
    """across: scores of different prompts may be compared; within: only those of one prompt; none:
    the score orders nothing."""
    fit: bool | None = None
    """Whether it passed its audition; None: it had none."""
    verdicts: tuple[str, ...] = ()
    """Names of the verdicts it writes; empty: see `verdict_names`."""
    scale: tuple[float, float] | None = None
    """Lowest and highest score where there is a scale that a threshold can speak of, else None."""


def questions_of(
    yes_no: str = "rubric-yes-no", channel: str = "rubric-channel"
) -> dict[str, Template]:
    """Returns the templates of assessors with one question, by kind; names or .md paths."""
    return {"yes_no": load(yes_no, FIELDS), "channel": load(channel, frozenset({"response"}))}


JUDGING = Sampling(temperature=0.0, max_tokens=48)
"""A reply is a score, a dash and one sentence: greedy, and cut where the sentence would be long."""


class Questionnaire(Options):
    """What a judge is asked, whichever kind of assessor asks it, and how its replies are drawn."""

    rubrics: tuple[Rubric, ...] = tuple(rubrics_of())
    """rubric and expected: one question and one verdict each."""
    questions: Mapping[str, Template] = questions_of()
    """yes_no and channel: the template of the one question, by kind."""
    sampling: Sampling = JUDGING
    """rubric: how the judge writes."""


def assessor_of(value: Assessor | Choice) -> Assessor:
    """Returns the assessor that an audition chose, or the one given."""
    return Assessor.model_validate(value.value) if isinstance(value, Choice) else value


def verdict_names(assessor: Assessor, rubrics: Sequence[Rubric]) -> tuple[str, ...]:
    """Returns the names under which `rate` files its verdicts."""
    if assessor.kind == "none":
        return ()
    if assessor.kind in ("rubric", "expected"):
        return tuple(rubric.name for rubric in rubrics)
    return (assessor.kind,)


def scale_of(assessor: Assessor, rubrics: Sequence[Rubric]) -> tuple[float, float] | None:
    """Returns the lowest and the highest score; None for assessors without a scale."""
    if assessor.kind in ("rubric", "expected") and rubrics:
        return (min(r.low for r in rubrics), max(r.high for r in rubrics))
    return None


def calls_per_row(assessor: Assessor, rubrics: Sequence[Rubric]) -> int:
    """Returns how many requests to the judge one row takes."""
    if assessor.kind in ("rubric", "expected"):
        return len(rubrics)
    return {"yes_no": 1, "channel": 1, "mutual_information": 2}.get(assessor.kind, 0)


def tokens_per_call(assessor: Assessor) -> int:
    """Returns tokens per request, for plans: a filled rubric is about 250 and the row."""
    return 450 if assessor.kind in ("rubric", "expected") else 200


def rate(
    rows: Sequence[Example],
    engine: Engine,
    assessor: Assessor,
    asked: Questionnaire = Questionnaire(),  # noqa: B008 - frozen
    *,
    seed: int = 0,
    start: int = 0,
) -> list[dict[str, Verdict]]:
    """Returns the verdicts of each row, by name. `start` is the index of the first row among all.

    Raises CapabilityError when the engine has no log-probabilities and the kind needs them.
    """
    kind = assessor.kind
    if kind == "none" or not rows:
        return [{} for _ in rows]
    if kind == "rubric":
        return _write_verdicts(rows, engine, asked, seed, start)
    if kind == "expected":
        return _expect_scores(rows, engine, asked.rubrics)
    if kind == "yes_no":
        return _by_name(kind, _yes_no(rows, engine, asked.questions["yes_no"]))
    if kind == "mutual_information":
        found = information(rows, engine)
        return _by_name(kind, [_scale(info, assessor.exponent) for info in found])
    if kind == "channel":
        return _by_name(kind, _channel(rows, engine, asked.questions["channel"]))
    return _by_name(kind, [Verdict(TEXT_SCORES[kind](row)) for row in rows])


def combine_verdicts(verdicts: Mapping[str, Verdict]) -> float | None:
    """Returns the mean of a row's verdicts; None if one could not be read or there are none."""
    scores = [verdict.score for verdict in verdicts.values()]
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if known and len(known) == len(scores) else None


def _by_name(name: str, verdicts: Sequence[Verdict]) -> list[dict[str, Verdict]]:
    return [{name: verdict} for verdict in verdicts]


# By what the judge writes


def _write_verdicts(
    rows: Sequence[Example], engine: Engine, asked: Questionnaire, seed: int, start: int
) -> list[dict[str, Verdict]]:
    sampling = asked.sampling
    if is_text(engine.model.prompt_format) and not sampling.stop:
        # A text goes on with the next task of its own after the reply.
        sampling = sampling.model_copy(update={"stop": ("\n\n", "\n#")})
    by_rubric = {
        rubric.name: _read_verdicts(rows, engine, rubric, sampling, seed, start)
        for rubric in asked.rubrics
    }
    return [{name: read[i] for name, read in by_rubric.items()} for i in range(len(rows))]


def _read_verdicts(
    rows: Sequence[Example],
    engine: Engine,
    rubric: Rubric,
    sampling: Sampling,
    seed: int,
    start: int,
) -> list[Verdict]:
    replies = ask_rows(
        enumerate(rows, start),
        engine,
        lambda each: slot_prompt(rubric.template, each[1], engine.model.prompt_format),
        sampling,
        lambda each: seed_of(seed, rubric.name, each[0]),
    )
    return [
        Verdict(None, f"no reply: {reply.finish_reason}")
        if no_reply(reply)
        else rubric.verdict(reply.text, cut=reply.finish_reason == "length")
        for _, reply, _ in replies
    ]


# By likelihoods


def _expect_scores(
    rows: Sequence[Example], engine: Engine, rubrics: Sequence[Rubric]
) -> list[dict[str, Verdict]]:
    out: list[dict[str, Verdict]] = [{} for _ in rows]
    for rubric in rubrics:
        scores = [rubric.low + i for i in range(math.floor(rubric.high - rubric.low) + 1)]
        prompts = [slot_prompt(rubric.template, row, engine.model.prompt_format) for row in rows]
        for verdicts, logs in zip(
            out, engine.option_logprobs(prompts, score_options(scores)), strict=True
        ):
            verdicts[rubric.name] = _mean_score(scores, logs)
    return out


def score_options(scores: Sequence[float]) -> list[str]:
    """Returns the scores as next texts. Where one is the beginning of another (1 and 10), the dash that
    the rubrics ask for ends each, so that the probability of 1 does not contain that of 10."""
    texts = [f" {score:g}" for score in scores]
    nested = any(a != b and b.startswith(a) for a in texts for b in texts)
    return [f"{text} -" for text in texts] if nested else texts


def _mean_score(scores: Sequence[float], logs: Sequence[float]) -> Verdict:
    top = max(logs, default=math.nan)
    if not math.isfinite(top):
        return Verdict(None, "no likelihood")
    weights = [math.exp(log - top) for log in logs]
    mean = sum(s * w for s, w in zip(scores, weights, strict=True)) / sum(weights)
    likely = scores[weights.index(max(weights))]
    return Verdict(mean, f"most likely {likely:g}, with {max(weights) / sum(weights):.2f}")


def _yes_no(rows: Sequence[Example], engine: Engine, template: Template) -> list[Verdict]:
    prompts = [slot_prompt(template, row, engine.model.prompt_format) for row in rows]
    return [
        Verdict(yes - no, f"log p(Yes) {yes:.2f}, log p(No) {no:.2f}")
        if math.isfinite(yes - no)
        else Verdict(None, "no likelihood")
        for yes, no in engine.option_logprobs(prompts, [" Yes", " No"])
    ]


class Information(Options):
    """The log-likelihoods, in nats, of an answer y with and without its task x."""

    given: float
    """log p(y|x)."""
    alone: float
    """log p(y)."""
    tokens: int
    """Tokens of y."""

    @property
    def total(self) -> float:
        """How much likelier the task makes the answer: log p(y|x) - log p(y), in nats."""
        return self.given - self.alone


def information(rows: Sequence[Example], engine: Engine) -> list[Information | None]:
    """Returns log p(y|x) and log p(y) per row; None for an empty response or one too long to score."""
    form = engine.model.prompt_format
    used = [i for i, row in enumerate(rows) if row.response.strip()]
    prompts: list[Prompt] = [answer_prompt(rows[i], form) for i in used]
    prompts += [answer_prompt(Example(instruction="", system=rows[i].system), form) for i in used]
    answers = [rows[i].response for i in used]
    logs = engine.sequence_logprobs(prompts, [*answers, *answers]) if used else []
    out: list[Information | None] = [None] * len(rows)
    for i, given, alone in zip(used, logs[: len(used)], logs[len(used) :], strict=True):
        if _sound(given) and _sound(alone):
            out[i] = Information(given=given.total, alone=alone.total, tokens=given.tokens)
    return out


def _scale(info: Information | None, exponent: float) -> Verdict:
    if info is None:
        return Verdict(None, "no likelihood")
    return Verdict(
        info.total / info.tokens**exponent,
        f"log p(y|x) {info.given:.2f}, log p(y) {info.alone:.2f}, {info.tokens} tokens",
    )


def _channel(rows: Sequence[Example], engine: Engine, template: Template) -> list[Verdict]:
    form = engine.model.prompt_format
    used = [i for i, row in enumerate(rows) if row.response.strip()]
    prompts = [slot_prompt(template, rows[i], form) for i in used]
    out = [Verdict(None, "no likelihood")] * len(rows)
    logs = engine.sequence_logprobs(prompts, [f" {question(rows[i])}" for i in used])
    for i, log in zip(used, logs, strict=True):
        if _sound(log):
            text = f"log p(x|y) {log.total:.2f}, {log.tokens} tokens"
            out[i] = Verdict(log.total / log.tokens, text)
    return out


def _sound(log: LogProb) -> bool:
    return log.tokens > 0 and math.isfinite(log.total)


# By the texts alone


def length(row: Example) -> float:
    """Returns the number of words of the response."""
    return float(count_words(row.response))


def overlap(row: Example) -> float:
    """Returns the share of distinct words that task and response have in common, in [0, 1] (cosine of
    the two sets)."""
    asked, said = set(tokens(question(row))), set(tokens(row.response))
    return len(asked & said) / math.sqrt(len(asked) * len(said)) if asked and said else 0.0


TEXT_SCORES: Mapping[str, Callable[[Example], float]] = {"length": length, "overlap": overlap}
