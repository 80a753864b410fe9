"""Pairs of answered tasks whose order is known by construction: what an assessor is tried on.

The one idea: nobody has to label anything. A seed's reference answers its task; something is then
done to the pair of task and answer that certainly makes it worse. Five kinds:

    mismatched  another seed's answer, of like length, to this task
    edited      the same answer to an edited task: another input, or a condition that it breaks (the
                better one then has a condition of the same form that it keeps)
    scrambled   the words of the answer in another order
    misstated   the same answer with one fact exchanged: a number, a name, yes for no (wrong_facts.py)
    sampled     two answers the model itself gave to one generated probe, one passes its check; the probe
                is of a family that neither selects nor reports

The first three can be told by words and fluency alone, the last two cannot: there the worse answer is
fluent, on its topic and wrong. Echoes, repetition and unfinished answers are left to the rules, so no
pair is of those.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from pydantic import Field

from woolgather.core.fingerprint import seed_of
from woolgather.core.options import Options
from woolgather.core.rows import Example
from woolgather.engines.base import Engine, Sampling
from woolgather.ops.judge.wrong_facts import misstate
from woolgather.ops.text.ask import ask_rows
from woolgather.ops.text.words import count_words, loops, tokens
from woolgather.probes import generate, task_of
from woolgather.probes.checks import passes
from woolgather.prompting.turns import answer_prompt, stops

PairKind = Literal["mismatched", "edited", "scrambled", "misstated", "sampled"]
KINDS: tuple[PairKind, ...] = get_args(PairKind)
BUILT: tuple[PairKind, ...] = tuple(kind for kind in KINDS if kind != "sampled")
"""The kinds that need no model."""
WRONG: tuple[PairKind, ...] = ("misstated", "sampled")
"""The kinds whose worse answer is fluent, on its topic and wrong."""
_Builder = Callable[[Example, Sequence[Example], random.Random], tuple[Example, Example] | None]
NEAREST = 5
"""Seeds closest in length among which a stranger is drawn."""


class SampledAnswers(Options):
    """The judge's own answers to probes, which make the sampled pairs."""

    samples: int = Field(default=4, ge=1)
    """Answers to each probe."""
    sampling: Sampling = Sampling(temperature=1.0, max_tokens=64)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answered tasks, the first better than the second."""

    kind: PairKind
    group: str
    """What the pair was made from; pairs of one group are not independent."""
    good: Example
    bad: Example


def build_pairs(seeds: Sequence[Example], per_kind: int, seed: int) -> list[Pair]:
    """Returns at most `per_kind` pairs of each kind that needs no model, from answered seeds.

    A kind has fewer when fewer seeds can make one (a one-word answer cannot be scrambled, and not every
    answer states a fact that a program can tell).
    """
    usable = [
        (f"seed:{i}", replace(s, response=s.response.strip()))
        for i, s in enumerate(seeds)
        if s.response.strip()
    ]
    out: list[Pair] = []
    for kind in BUILT:
        rng = random.Random(seed_of(seed, kind))
        order = rng.sample(usable, len(usable))
        made = 0
        for group, row in order:
            if made == per_kind:
                break
            others = [other for name, other in usable if name != group]
            if (pair := _BUILDERS[kind](row, others, rng)) is not None:
                out.append(Pair(kind, group, *pair))
                made += 1
    return out


def _mismatch(
    row: Example, others: Sequence[Example], rng: random.Random
) -> tuple[Example, Example] | None:
    size = count_words(row.response)
    strangers = [o for o in others if o.response != row.response]
    nearest = sorted(strangers, key=lambda o: abs(count_words(o.response) - size))[:NEAREST]
    if not nearest:
        return None
    return row, replace(row, response=rng.choice(nearest).response)


def _edit(
    row: Example, others: Sequence[Example], rng: random.Random
) -> tuple[Example, Example] | None:
    edits = [_other_length, _other_first_word, _other_ban]
    if row.input:
        edits = [_other_input, *rng.sample(edits, 3)] if rng.random() < 0.5 else [_other_input]
    else:
        rng.shuffle(edits)
    for edit in edits:
        if (pair := edit(row, others, rng)) is not None:
            return pair
    return None


def _other_input(
    row: Example, others: Sequence[Example], rng: random.Random
) -> tuple[Example, Example] | None:
    size = count_words(row.input)
    inputs = [o.input for o in others if o.input and o.input != row.input]
    nearest = sorted(inputs, key=lambda text: abs(count_words(text) - size))[:NEAREST]
    return (row, replace(row, input=rng.choice(nearest))) if nearest else None


def _other_length(
    row: Example, others: Sequence[Example], rng: random.Random
) -> tuple[Example, Example] | None:
    size = count_words(row.response)
    if size < 4:
        return None
    kept, broken = (
        (f"Use at most {size + 5} words.", f"Use at most {size // 3} words."),
        (f"Use at least {max(1, size - 5)} words.", f"Use at least {2 * size + 20} words."),
    )[rng.randrange(2)]
    return _conditions(row, kept, broken)


def _other_first_word(
    row: Example, others: Sequence[Example], rng: random.Random
) -> tuple[Example, Example] | None:
    first = tokens(row.response)[:1]
    firsts = sorted({t[0] for o in others if (t := tokens(o.response))} - set(first))
    if not first or not firsts:
        return None
    condition = 'Begin your answer with "{}".'
    return _conditions(row, condition.format(first[0]), condition.format(rng.choice(firsts)))


def _other_ban(
    row: Example, others: Sequence[Example], rng: random.Random
) -> tuple[Example, Example] | None:
    said = tokens(row.response)
    long = sorted({w for w in said if len(w) > 3})
    free = sorted({w for o in others for w in tokens(o.response) if len(w) > 3} - set(said))
    if not long or not free:
        return None
    condition = 'Do not use the word "{}".'
    return _conditions(row, condition.format(rng.choice(free)), condition.format(rng.choice(long)))


def _conditions(row: Example, kept: str, broken: str) -> tuple[Example, Example]:
    good, bad = (
        replace(row, instruction=f"{row.instruction} {condition}") for condition in (kept, broken)
    )
    return good, bad


def _scramble(
    row: Example, others: Sequence[Example], rng: random.Random
) -> tuple[Example, Example] | None:
    words = row.response.split()
    if len(set(words)) < 5:
        return None
    mixed = words
    while mixed == words:
        mixed = rng.sample(words, len(words))
    return row, replace(row, response=" ".join(mixed))


def _misstate(
    row: Example, others: Sequence[Example], rng: random.Random
) -> tuple[Example, Example] | None:
    wrong = misstate(row, rng)
    return None if wrong is None else (row, replace(row, response=wrong))


_BUILDERS: Mapping[PairKind, _Builder] = {
    "mismatched": _mismatch,
    "edited": _edit,
    "scrambled": _scramble,
    "misstated": _misstate,
}


def sample_pairs(
    engine: Engine,
    probes: int,
    sampled: SampledAnswers = SampledAnswers(),  # noqa: B008 - frozen
    *,
    limit: int,
    shots: Sequence[Example],
    seed: int,
) -> list[Pair]:
    """Returns one pair per probe to which the model gave both a passing and a failing answer.

    At most `limit` pairs come of `probes` probes; empty, unfinished and looping answers do not count.
    A model that is prompted as raw text is shown `shots` first.
    """
    if probes < 1 or limit < 1:
        return []
    asked = generate(probes, seed_of(seed, "audition"), "train")
    form = engine.model.prompt_format
    shots = shots if form == "raw" else ()
    samples, sampling = sampled.samples, sampled.sampling
    stop = (*sampling.stop, *stops(form, shots))
    found = ask_rows(
        ((i, k, probe) for i, probe in enumerate(asked) for k in range(samples)),
        engine,
        lambda each: answer_prompt(task_of(each[2]), form, shots),
        sampling.model_copy(update={"stop": stop}),
        lambda each: seed_of(seed, *each[:2]),
    )
    answers = [(answer.text.strip(), reason) for _, answer, reason in found]
    out: list[Pair] = []
    for i, probe in enumerate(asked):
        passing: list[str] = []
        failing: list[str] = []
        for text, reason in answers[i * samples : (i + 1) * samples]:
            if text and reason is None and not loops(text):
                (passing if passes(text, probe.check) else failing).append(text)
        if passing and failing and len(out) < limit:
            rng = random.Random(seed_of(seed, probe.id))
            good, bad = rng.choice(passing), rng.choice(failing)
            row = task_of(probe)
            out.append(
                Pair("sampled", probe.id, replace(row, response=good), replace(row, response=bad))
            )
    return out
