"""Preference training: pairs become token ids here, and a trainer prefers one side to the other.

The one idea: both sides of a pair are rendered as a supervised row is (one template; one end token, or
none for an answer that was cut), so that nothing but what was written tells them apart; and the
opponent is an argument, never a guess. What is drawn is what shows whether it goes well: by how much
the real answers gain, not only that the margin grows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import replace
from pathlib import Path

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError, YieldError
from woolgather.core.expected import Expected
from woolgather.core.model_limits import longest_row
from woolgather.core.op import op
from woolgather.core.rows import JSON, Example, PreferencePair
from woolgather.core.views import View, alarm
from woolgather.ops.train.sft import (
    ADAPTER_BYTES,
    IGNORE,
    ROW_TOKENS,
    encoder,
    end_alarms,
    line,
    numbers,
    read_trainer_output,
    warm_up_alarm,
    weight_bytes,
    write_tokens,
)
from woolgather.training.job import DpoOptions, Trainer, TrainJob, held_back

COLUMNS = ("prompt_ids", "chosen_ids", "rejected_ids")
PairTokens = tuple[list[int], list[int], list[int]]
"""Ids of the prompt, and of the chosen and the rejected answer, each with its end token unless it was
cut at the length limit."""
FALL = 0.1
"""Nats per answer, over the last quarter of updates, that real answers may lose without an alarm."""
APART = 1.0
"""Nats between policy and opponent before the first update that cannot be rounding."""


def _work(
    pairs: Sequence[Sized], *, start: Model, config: DpoOptions, trainer: Trainer, **_: object
) -> Expected:
    count = sum(map(len, pairs))
    count = min(count, config.max_rows or count)
    updates = config.updates(count)
    once = ADAPTER_BYTES if config.lora else weight_bytes(start) * 6
    each = ADAPTER_BYTES if config.lora else weight_bytes(start)
    return Expected(
        updates=updates,
        train_tokens=updates * min(config.batch_size, max(count, 1)) * 2 * ROW_TOKENS,
        disk_bytes=once + each * len(config.earlier_epochs),
        memory=trainer.memory(start, config),
    )


@op("dpo", expects=_work)
def dpo(
    pairs: Sequence[Iterable[PreferencePair]],
    *,
    start: Model,
    reference: Model,
    config: DpoOptions,
    trainer: Trainer,
    out: Path = Path(),
    min_rows: int = 8,
    seed: int = 0,
    date: str = "",
) -> Model:
    """Returns `start` tuned to prefer the chosen side of `pairs` (by iteration, oldest first) more
    than `reference` does: an adapter directory, or full weights, prompted by chat template.

    Pairs over `config.max_rows` are left out at random, and so are pairs over `max_length` or
    `max_prompt_length` tokens (`pair` sets them aside with their reasons). Pairs of one prompt are
    held back together. Raises ConfigError where an adapter cannot have this reference, YieldError
    with fewer than `min_rows` pairs, TrainingError when the process fails.
    """
    if config.lora and reference.fingerprint != start.fingerprint:
        raise ConfigError(
            "dpo: with lora the reference is the model below the adapter, so `reference` must be "
            "`start`. Merge the reference first and start from it, or set lora=null."
        )
    rows = [row for source in pairs for row in source]
    random.Random(seed).shuffle(rows)
    encode, longest = pair_encoder(start, date), longest_row(start.path, config.max_length)
    usable = [
        (row, ids)
        for row, ids in ((row, encode(row)) for row in rows)
        if len(ids[0]) <= config.max_prompt_length
        and len(ids[0]) + max(len(ids[1]), len(ids[2])) <= longest
    ]
    left_out = {"too long": len(rows) - len(usable)}
    if config.max_rows is not None:
        left_out["over max_rows"] = max(0, len(usable) - config.max_rows)
        usable = usable[: config.max_rows]
    if len(usable) < min_rows:
        raise YieldError(
            f"only {len(usable)} pairs to train on, and at least {min_rows} are needed. Give more "
            "seeds, or allow longer answers (respond.sampling.max_tokens, dpo.max_length)."
        )
    held = _choose_held_back(usable, config.validation)
    data = out / "data"
    data.mkdir(parents=True, exist_ok=True)
    parts: dict[str, list[PairTokens]] = {"train": [], "validation": []}
    for row, ids in usable:
        parts["validation" if _question(row) in held else "train"].append(ids)
    for name, part in parts.items():
        if part:
            write_tokens(part, data / name, COLUMNS)
    job = TrainJob(config, start, data, seed, reference)
    model = trainer(job, out)
    same = start.fingerprint == reference.fingerprint
    views = _views(out, config, len(parts["validation"]), left_out, same)
    return replace(model, views=(*model.views, *views))


def pair_encoder(start: Model, date: str = "") -> Callable[[PreferencePair], PairTokens]:
    """Returns what renders pairs for training from `start`, where templates see `date` as today."""
    encode = encoder(start, date)

    def ids(pair: PreferencePair) -> PairTokens:
        sides = []
        for side in sides_of(pair):
            tokens, labels = encode(side)
            opening = labels.count(IGNORE)
            sides.append((tokens[:opening], tokens[opening:]))
        return sides[0][0], sides[0][1], sides[1][1]

    return ids


def sides_of(pair: PreferencePair) -> tuple[Example, Example]:
    """Returns the chosen and the rejected answer as rows of their own. How each ended is in the pair's
    meta, `finish_reasons` by side, where that is known."""
    ended = pair.meta.get("finish_reasons")
    ended = ended if isinstance(ended, Mapping) else {}
    chosen, rejected = (
        Example(
            instruction=pair.instruction,
            system=pair.system,
            response=text,
            finish_reason=ended.get(side),
        )
        for side, text in (("chosen", pair.chosen), ("rejected", pair.rejected))
    )
    return chosen, rejected


def _question(row: PreferencePair) -> tuple[str, str]:
    return row.system, row.instruction


def _choose_held_back(
    usable: Sequence[tuple[PreferencePair, PairTokens]], share: float
) -> set[object]:
    """Returns the prompts that are held back: whole, so that no answer trained on is validated with."""
    prompts = list(dict.fromkeys(_question(row) for row, _ in usable))
    return set(prompts[: held_back(len(prompts), share)])


def _views(
    out: Path, config: DpoOptions, held: int, left_out: dict[str, int], same: bool
) -> list[View]:
    """Curves and numbers from what the trainer left in `out`; fewer when it left less."""
    result, points = read_trainer_output(out)
    views: list[View] = []
    if points:
        views = [
            line(
                "Preference loss",
                points,
                {"training": "loss", "validation": "validation_loss"},
                f"{config.loss} loss",
            ),
            line(
                "Log-probability of answers",
                points,
                {"real": "real_logp", "generated": "generated_logp"},
                "nats per answer",
            ),
            line(
                "Gain over the opponent",
                points,
                {"real": "real_gain", "generated": "generated_gain"},
                "nats per answer",
                "By how much the policy finds an answer likelier than the opponent does.",
            ),
            line(
                "Margin",
                points,
                {"margin": "margin"},
                "nats per answer, times beta",
                f"Gain of real answers less that of generated ones, at beta {config.beta:g}.",
            ),
            line(
                "Pairs told apart",
                points,
                {"training": "accuracy", "validation": "validation_accuracy"},
                "share with a margin above 0",
            ),
        ]
    more = [
        ("margin at the first update", result.get("margin_at_start")),
        ("margin at the last", result.get("margin")),
        ("share told apart at the last", result.get("accuracy")),
    ]
    views.append(numbers(result, held, left_out, more))
    views += end_alarms(result)
    views += warm_up_alarm(result.get("updates"), config)
    if result.get("stopped_at_fall"):
        text = (
            f"After {result.get('updates')} updates real answers had lost more than "
            f"{config.stop_fall} nats per token (stop_fall), and training ended there."
        )
        views.append(alarm("Stopped early", text))
    gap = result.get("margin_at_start")
    if same and gap is not None and abs(gap) > APART * config.beta:
        text = (
            f"Before the first update the margin was {gap:.3g}, and it is 0 when start and opponent "
            "are one: they were not the same weights, or dropout was on."
        )
        views.append(alarm("Start and opponent differ", text, "error"))
    return views + _falling(points)


def _falling(points: Sequence[dict[str, JSON]]) -> list[View]:
    """An alarm when the margin grows because both sides fall, the generated one faster."""
    gains = [p["real_gain"] for p in points if p.get("real_gain") is not None]
    last = gains[-max(1, len(gains) // 4) :]
    if not last or (mean := sum(last) / len(last)) >= -FALL:
        return []
    text = (
        f"At the end the model finds the real answers less likely than its opponent did, by "
        f"{-mean:.2f} nats per answer. nll_weight adds an anchor on them; a smaller learning_rate or "
        "a larger beta keeps nearer to the opponent."
    )
    return [alarm("Real answers became less likely", text)]
