"""The rows that training sees: what was kept, earlier rounds, the seeds, and the user's own rows, in one
shuffled order.

The one idea: after this step nothing is left out in silence. One row per prompt; a row too long for
training is set aside whole, because a cut one would lose its end token; a bound on the rows (the
hidden cap of I-SHEEP's scripts) shows as a reason. The seeds stay in: in trials, seeds and own rows
together beat either alone. Replayed rows are a share of the tokens, whatever else there is, so that
controls see as much of them; where one asks what another row asks, it is the one that yields.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from dataclasses import replace
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError
from woolgather.core.expected import Expected
from woolgather.core.model_limits import longest_row
from woolgather.core.op import op
from woolgather.core.options import Options
from woolgather.core.rows import Example, answered_turns, set_aside
from woolgather.core.views import View, alarm, funnel, table
from woolgather.prompting.turns import training_turns
from woolgather.training.job import is_fake

ORDER = ("empty", "repeated_prompt", "over_max_rows", "too_long")
"""Reasons, in the order in which they are looked for; too long before too many."""


class Replaying(Options):
    """Keeping rows of the user's own in every training."""

    execution: ClassVar[frozenset[str]] = frozenset({"replay"})  # `mix` takes the rows themselves
    added: ClassVar[frozenset[str]] = frozenset({"replay_share"})

    replay: str | tuple[str, ...] = ""
    """Answered rows of your own that are among the rows of every training, the controls' too: a file, a
    folder, a data set of the hub (`owner/name[@revision]`), or several of these. Empty replays none."""
    replay_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of the training tokens that is theirs, where they suffice: none is there twice."""

    @model_validator(mode="after")
    def _names_rows(self) -> Self:
        share = type(self).model_fields["replay_share"].default
        if not self.replay and self.replay_share != share:
            raise ConfigError(
                f"replay_share={self.replay_share:g} without rows to replay: name them with "
                "mix.replay=FILE, or leave the share out."
            )
        return self


class MixOptions(Replaying):
    """What goes into training besides the rows just kept."""

    seeds: bool = True
    """Whether the seeds are among the rows."""
    seed_repeats: int = Field(default=1, ge=1)
    """How often each seed is among the rows."""
    one_per_prompt: bool = True
    """Keep only the best of several rows with the same instruction and input: the highest sum of
    verdicts where both have the same ones, otherwise the latest."""


class RowLimits(Options):
    """What training takes."""

    added: ClassVar[frozenset[str]] = frozenset({"choose"})

    max_length: int
    """Tokens of a row: prompt, response and end token."""
    max_rows: int | None = None
    """The machine's own rows; None takes all."""
    choose: Literal["random", "first"] = "random"
    """Which of them when there are more: a random choice, or the oldest."""


def _work(
    kept: Sequence[Sized],
    seeds: Sized,
    replay: Sized = (),
    *,
    limits: RowLimits,
    options: MixOptions,
    **_: object,
) -> Expected:
    rows = sum(map(len, kept))
    rows = min(rows, limits.max_rows) if limits.max_rows is not None else rows
    rows += len(seeds) * options.seed_repeats if options.seeds else 0
    return Expected(rows=rows + min(len(replay), round(_beside(rows, options.replay_share))))


@op("shuffle")
def shuffle(rows: Iterable[Example], *, seed: int = 0) -> Iterator[Example]:
    """Yields the rows in a random order. Memory grows with the rows."""
    shuffled = list(rows)
    random.Random(seed).shuffle(shuffled)
    yield from shuffled


@op("mix", expects=_work, needs={"kept": ("response",), "seeds": ("response",)})
def mix(
    kept: Sequence[Iterable[Example]],
    seeds: Iterable[Example],
    replay: Iterable[Example] = (),
    *,
    base: Model,
    limits: RowLimits,
    options: MixOptions = MixOptions(),  # noqa: B008 - frozen
    seed: int = 0,
    date: str = "",
) -> Generator[Example, None, list[View]]:
    """Yields the rows of `kept` (by iteration, oldest first), of `seeds` and of `replay`, shuffled.

    Of `replay` the first rows are taken, until theirs are `options.replay_share` of all tokens. Set
    aside: `empty` (no instruction or response), `repeated_prompt`, `too_long` (over
    `limits.max_length` tokens of `base`, or more than it has positions), `over_max_rows` (the machine's
    own rows beyond `limits.max_rows`, at random or from the end). Memory grows with the rows.
    """
    rng = random.Random(seed)
    tokens, longest = token_counter(base, date), longest_row(base.path, limits.max_length)
    aside: list[Example] = []

    def usable(row: Example) -> bool:
        if not row.instruction.strip() or not row.response.strip():
            aside.append(set_aside(row, "empty"))
        elif tokens(row) > longest:
            aside.append(set_aside(row, "too_long"))
        else:
            return True
        return False

    own = [row for rows in kept for row in rows]
    offered = len(own)
    own = [row for row in own if usable(row)]
    if options.one_per_prompt:
        own, repeated = _best_of_prompts(own)
        aside += [set_aside(row, "repeated_prompt") for row in repeated]
    if limits.choose == "random":
        rng.shuffle(own)
    if limits.max_rows is not None:
        aside += [set_aside(row, "over_max_rows") for row in own[limits.max_rows :]]
        own = own[: limits.max_rows]
    given = [row for row in seeds if usable(row)] if options.seeds else []
    rows = own + [again for row in given for again in _copies(row, options.seed_repeats)]
    stages = [("machine rows", offered), ("of these used", len(own)), ("with seeds", len(rows))]
    note, views = "", [] if own or not kept else [_nothing_new(offered)]
    if replay:
        fresh: Iterable[Example] = filter(usable, replay)
        if options.one_per_prompt:
            fresh = _skip_asked(fresh, rows, aside)
        replayed, share = _take_share(fresh, rows, tokens, options.replay_share)
        rows += replayed
        stages.append(("with replay", len(rows)))
        note = f"{share:.0%} of the training tokens are replayed."
        views += [_too_few(share, options.replay_share)] if share < options.replay_share else []
    rng.shuffle(rows)
    yield from rows
    yield from aside
    if several := sum(len(answered_turns(row)) > 2 for row in rows):
        note = f"{note} Rows of several turns: {several}.".strip()
    reasons = Counter(str(row.set_aside) for row in aside)
    origins = sorted(Counter(map(_origin, rows)).items())
    return [
        *views,
        funnel("Into training", stages, {name: reasons[name] for name in ORDER if reasons[name]}),
        table("Training rows", ["origin", "rows"], origins, note),
    ]


def _nothing_new(offered: int) -> View:
    """Says that an iteration trains on none of its rows."""
    why = f"All {offered} rows were set aside." if offered else "No row was kept before."
    return alarm(
        "Nothing but seeds",
        f"{why} The model is trained on the seeds or other given rows alone, and on nothing that it "
        "wrote itself.",
        "error",
    )


def _too_few(share: float, wanted: float) -> View:
    """Says that the replayed rows do not come to their share."""
    return alarm(
        "Replay falls short",
        f"All rows of mix.replay that can be used are in, each once, and have {share:.1%} of the "
        f"training tokens; mix.replay_share asks for {wanted:.0%}.",
        "note",
    )


def _skip_asked(
    rows: Iterable[Example], before: Iterable[Example], aside: list[Example]
) -> Iterator[Example]:
    """Yields the rows whose prompt is none of a row `before` or of an earlier one; others go `aside`."""
    asked = set(map(_prompt, before))
    for row in rows:
        if _prompt(row) in asked:
            aside.append(set_aside(row, "repeated_prompt"))
        else:
            asked.add(_prompt(row))
            yield row


def _take_share(
    rows: Iterable[Example],
    beside: Sequence[Example],
    tokens: Callable[[Example], int],
    share: float,
) -> tuple[list[Example], float]:
    """Returns the first of `rows` that have `share` of all tokens, those of `beside` included, or all
    there are, and the share that they have."""
    others, taken, size = sum(map(tokens, beside)), list[Example](), 0
    due, wanted = iter(rows), _beside(others, share)
    while size < wanted and (row := next(due, None)):
        taken.append(row)
        size += tokens(row)
    return taken, size / max(1, size + others)


def _beside(others: float, share: float) -> float:
    """Returns how much is `share` of the whole where the rest of it is `others`."""
    return others * share / (1 - share)


def _prompt(row: Example) -> tuple[str, str]:
    return row.instruction.strip(), row.input.strip()


def _best_of_prompts(rows: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Returns the best row of each prompt, and the others; rows come oldest first."""
    best: dict[tuple[str, str], Example] = {}
    others: list[Example] = []
    for row in rows:
        asked = _prompt(row)
        known = best.get(asked)
        if known is not None and _better(known, row):
            others.append(row)
            continue
        if known is not None:
            others.append(known)
        best[asked] = row
    return list(best.values()), others


def _better(old: Example, new: Example) -> bool:
    """Whether the old row's verdicts are higher, where they can be compared at all."""
    if old.verdicts.keys() != new.verdicts.keys():
        return False
    ours = [v.score for v in old.verdicts.values()]
    theirs = [v.score for v in new.verdicts.values()]
    if None in theirs and None not in ours:
        return True
    if None in ours or None in theirs:
        return False
    return sum(s for s in ours if s is not None) > sum(s for s in theirs if s is not None)


def _copies(row: Example, count: int) -> list[Example]:
    """The row, and copies that name it as their parent: two rows never share an id."""
    more = [
        replace(row, id="", parents=(row.id,), meta={**row.meta, "copy": k})
        for k in range(1, count)
    ]
    return [row, *more]


def _origin(row: Example) -> str:
    return str(row.meta.get("origin", "machine"))


def token_counter(base: Model, date: str = "") -> Callable[[Example], int]:
    """Returns what counts the tokens that a row is in training, where templates see `date` as today;
    words for a fake model, which has no tokens."""
    if is_fake(base):
        return lambda row: sum(len(text.split()) for _, text in answered_turns(row)) + 1
    from woolgather.prompting.renderer import Renderer

    renderer = Renderer.of(base, date)
    return lambda row: len(renderer.training_ids(*training_turns(row))[0])
