"""Supervised fine-tuning: rows become token ids and labels here, and a trainer trains on them.

The one idea: a model is trained on exactly what it is asked with (renderer.py renders both), with loss
on each response and its one end token and on nothing else; a response that was cut at the length limit
has no end token, so that nobody learns to stop in the middle. Which rows are held back for validation
follows from the seed; a prompt that occurs twice is never held back, so that no response that is
trained on is validated with.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from woolgather.core.artifacts import Model
from woolgather.core.errors import YieldError
from woolgather.core.expected import Expected
from woolgather.core.model_limits import longest_row
from woolgather.core.op import op
from woolgather.core.rows import JSON, Example, answered_turns, question
from woolgather.core.views import View, alarm, curve, table
from woolgather.prompting.turns import training_turns
from woolgather.training.job import (
    CURVES,
    RESULT,
    SftOptions,
    Trainer,
    TrainingOptions,
    TrainJob,
    held_back,
    is_fake,
)

ROW_TOKENS = 160
"""Tokens per training row, for plans."""
ADAPTER_BYTES = 12_000_000
"""Size of an adapter with its optimizer state, for plans."""
STOPPING = 0.25
"""Share of a few greedy answers that has to end by itself. A sound model that says a little more than its
references do ends half of them in time; one that cannot stop ends none."""
IGNORE = -100
"""Label of a token without loss."""
Tokens = tuple[list[int], list[int]]
"""input_ids and labels of a row."""


def _work(
    rows: Sized, *, start: Model, config: SftOptions, trainer: Trainer, **_: object
) -> Expected:
    count = min(len(rows), config.max_rows or len(rows))
    updates = config.updates(count)
    return Expected(
        updates=updates,
        train_tokens=updates * min(config.batch_size, max(count, 1)) * ROW_TOKENS,
        disk_bytes=ADAPTER_BYTES if config.lora else weight_bytes(start) * 6,
        memory=trainer.memory(start, config),
    )


@op("sft", expects=_work)
def sft(
    rows: Iterable[Example],
    *,
    start: Model,
    config: SftOptions,
    trainer: Trainer,
    out: Path = Path(),
    min_rows: int = 8,
    seed: int = 0,
    date: str = "",
) -> Model:
    """Returns `start` tuned on `rows`: an adapter directory, or full weights, prompted by chat template.

    Rows over `config.max_rows` are left out as `config.choose` says, and so are rows over
    `config.max_length` tokens or over the positions that the model has (`mix` sets both aside with their
    reasons). Raises YieldError with advice when fewer than `min_rows` are left, TrainingError when the
    process fails.
    """
    examples = list(rows)
    rng = random.Random(seed)
    if config.choose == "random":
        rng.shuffle(examples)
    longest = longest_row(start.path, config.max_length)
    encoded = [
        (row, ids)
        for row, ids in zip(examples, encode(examples, start, date), strict=True)
        if len(ids[0]) <= longest
    ]
    usable = len(encoded)
    encoded = encoded[: config.max_rows]
    if config.choose == "first":
        rng.shuffle(encoded)
    if len(encoded) < min_rows:
        raise YieldError(
            f"only {len(encoded)} rows to train on, and at least {min_rows} are needed. Set fewer "
            "aside (`woolgather status` shows which step took them; for a threshold, lower "
            "keep.above), ask for more, or leave the seeds in where there is mix.seeds."
        )
    asked = Counter(question(row) for row, _ in encoded)
    single = [i for i, (row, _) in enumerate(encoded) if asked[question(row)] == 1]
    held = set(single[: held_back(len(encoded), config.validation)])
    data = out / "data"
    data.mkdir(parents=True, exist_ok=True)
    write_tokens([ids for i, (_, ids) in enumerate(encoded) if i not in held], data / "train")
    if held:
        write_tokens([ids for i, (_, ids) in enumerate(encoded) if i in held], data / "validation")
    model = trainer(TrainJob(config, start, data, seed), out)
    left_out = {"too long": len(examples) - usable, "over max_rows": usable - len(encoded)}
    views = [*_views(out, config, len(held), left_out), *_past_answers(encoded)]
    return replace(model, views=(*model.views, *views))


def _past_answers(encoded: Sequence[tuple[Example, Tokens]]) -> list[View]:
    """Says that earlier answers of conversations have no loss, where that is so."""
    several = [(answered_turns(row), labels) for row, (_, labels) in encoded]
    several = [(turns, labels) for turns, labels in several if len(turns) > 2]
    answers = sum(len(turns) // 2 for turns, _ in several)
    learned = sum(
        label != IGNORE == before
        for _, labels in several
        for before, label in pairwise([IGNORE, *labels])
    )
    if learned == answers:
        return []
    text = (
        f"Of {answers} answers in {len(several)} rows of several turns, {learned} are learned, the last "
        "of each row among them. The chat template writes the others otherwise once another turn "
        "follows than they would be written as answers."
    )
    return [alarm("Earlier answers without loss", text, "note")]


def encode(rows: Sequence[Example], start: Model, date: str = "") -> list[Tokens]:
    """Returns ids and labels of rows, where templates see `date` as today; hashes of words for a fake
    model, which has no tokens."""
    return list(map(encoder(start, date), rows))


def encoder(start: Model, date: str = "") -> Callable[[Example], Tokens]:
    """Returns what does the same for one row after another. A row with the finish reason "length" has no
    end token."""
    render = _words if is_fake(start) else _renderer(start, date)

    def ids_and_labels(row: Example) -> Tokens:
        ids, labels = render(row)
        return (ids[:-1], labels[:-1]) if row.finish_reason == "length" else (ids, labels)

    return ids_and_labels


def _renderer(start: Model, date: str) -> Callable[[Example], Tokens]:
    from woolgather.prompting.renderer import Renderer

    renderer = Renderer.of(start, date)
    return lambda row: renderer.training_ids(*training_turns(row))


def write_tokens(
    rows: Sequence[Sequence[list[int]]],
    path: Path,
    columns: Sequence[str] = ("input_ids", "labels"),
) -> None:
    """Writes lists of ids, one for each of `columns`, as `path`.parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids = pa.list_(pa.int32())
    table = pa.table(
        {name: pa.array([row[i] for row in rows], ids) for i, name in enumerate(columns)}
    )
    pq.write_table(table, path.with_suffix(".parquet"), compression="zstd")


def weight_bytes(model: Model) -> int:
    """Returns the bytes of a local model's weights on disk; 0 when it is not a directory here."""
    path = Path(model.path)
    return sum(f.stat().st_size for f in path.glob("*.safetensors")) if path.is_dir() else 0


def _words(row: Example) -> Tokens:
    def number(word: str) -> int:
        return int.from_bytes(hashlib.sha256(word.encode()).digest()[:2], "big")

    ids, labels = [number(word) for word in row.system.split()], [IGNORE] * len(row.system.split())
    for role, text in answered_turns(row):
        turn = [number(word) for word in text.split()]
        turn += [0] if role == "assistant" else []
        ids += turn
        labels += turn if role == "assistant" else [IGNORE] * len(turn)
    return ids, labels


def read_trainer_output(out: Path) -> tuple[dict[str, JSON], list[dict[str, JSON]]]:
    """Returns the numbers, and the rows by update, that a trainer left in `out`; both are empty where it
    left none."""
    result: dict[str, JSON] = {}
    points: list[dict[str, JSON]] = []
    if (out / RESULT).is_file():
        result = json.loads((out / RESULT).read_text(encoding="utf-8"))
    if (out / CURVES).is_file():
        import pyarrow.parquet as pq

        points = pq.read_table(out / CURVES).to_pylist()
    return result, points


def line(
    title: str, points: Sequence[dict[str, JSON]], keys: Mapping[str, str], y: str, note: str = ""
) -> View:
    """Returns a curve over updates; `keys` are columns of the points by the name they are shown with."""
    series = {
        name: [(float(p["update"]), float(p[key])) for p in points if p[key] is not None]
        for name, key in keys.items()
    }
    shown = {name: found for name, found in series.items() if found}
    return curve(title, shown, x="update", y=y, note=note)


def numbers(
    result: Mapping[str, JSON],
    held: int,
    left_out: Mapping[str, int],
    more: Sequence[tuple[str, JSON]] = (),
) -> View:
    """Returns the table of a training; what is not known is left out."""
    rows = [
        ("rows", result.get("rows")),
        ("rows held back for validation", held),
        *((f"rows left out: {reason}", count) for reason, count in left_out.items() if count),
        ("updates", result.get("updates")),
        ("tokens", result.get("tokens")),
        ("seconds", result.get("seconds")),
        ("trained parameters", result.get("trained_parameters")),
        ("loss", result.get("loss")),
        ("validation loss before", result.get("validation_loss_before")),
        ("validation loss", result.get("validation_loss")),
        ("update with the lowest, kept", result.get("kept_update")),
        ("chat template", result.get("chat_template")),
        *_stops(result),
        *more,
    ]
    return table("Training", ["measure", "value"], [r for r in rows if r[1] is not None])


def _stops(result: Mapping[str, JSON]) -> list[tuple[str, JSON]]:
    told = dict(result.get("stops") or {})
    return [(f"answers that end, of {told['asked']} asked", told["stopped"])] if told else []


def end_alarms(result: Mapping[str, JSON]) -> list[View]:
    """Returns what there is to say of the end token, and of a model that does not stop by itself."""
    views: list[View] = []
    end, told = dict(result.get("untrained_end") or {}), dict(result.get("stops") or {})
    if end:
        found = (
            f"The row of the end token {end['token']} was never trained: its length is "
            f"{end['norm']:.2g}, and the median is {end['median']:.2g}."
        )
        taught = f"{found} It was trained beside the adapter, which cannot reach it."
        cannot = f"{found} An adapter cannot reach it; train all weights (lora: null)."
        note = alarm("End token trained", taught, "note")
        views.append(note if end["trained"] else alarm("End token cannot be learned", cannot))
    if told and told["stopped"] < told["asked"] * STOPPING:
        text = (
            f"Of {told['asked']} greedy answers to prompts that it was trained on, {told['stopped']} "
            "ended by themselves within half as many tokens again as the longest of their references. "
            "Train longer, or with a higher learning_rate; rows that were cut teach no end."
        )
        views.append(alarm("Does not stop", text))
    return views


def warm_up_alarm(updates: JSON, config: TrainingOptions) -> list[View]:
    """Returns an alarm where the learning rate never got to where it was meant to be."""
    if updates is None or config.warmup_updates < max(1, updates):
        return []
    text = (
        f"The learning rate was still warming up when training ended: {updates} updates, "
        f"warmup_updates={config.warmup_updates:g}. A value below 1 is a share of all updates."
    )
    return [alarm("Warm-up", text)]


def _views(out: Path, config: SftOptions, held: int, left_out: dict[str, int]) -> list[View]:
    """Curves and numbers from what the trainer left in `out`; fewer when it left less."""
    result, points = read_trainer_output(out)
    losses = {"training": "loss", "validation": "validation_loss"}
    views = [line("Training loss", points, losses, "loss per token")] if points else []
    views.append(numbers(result, held, left_out))
    if why := dict(result.get("execution") or {}).get("not_in_four_bits"):
        text = f"The adapter learned on the base as it is: {why}."
        views.append(alarm("Base not in 4 bits", text, "note"))
    return views + end_alarms(result) + warm_up_alarm(result.get("updates"), config)
