"""An adapter and its base become one self-contained model directory.

Whatever starts from a previous model starts from the merged one; the last merge of a run is its
result. The sum is done in float32 and stored in the base's precision, and tokenizer, chat template
and a generation config that stops at our end tokens are written beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError
from woolgather.core.expected import Expected
from woolgather.core.op import op
from woolgather.core.rows import JSON
from woolgather.ops.train.sft import weight_bytes
from woolgather.training.job import MergeOptions, Trainer, TrainJob, is_fake


def _work(model: Model, **_: object) -> Expected:
    return Expected(disk_bytes=weight_bytes(model))


@op("merge", expects=_work)
def merge(
    model: Model,
    *,
    trainer: Trainer,
    out: Path = Path(),
    scale: float = 1.0,
    card: Mapping[str, JSON] | None = None,
    system: str = "",
) -> Model:
    """Returns `model` as a plain Hugging Face directory that transformers alone loads, and that stops.

    `scale` is the adapter's dial: 0 is the base, 1 the trained model. A model without an adapter is
    copied. `card` becomes README.md (`card_text`). `system` are lines that its chat template sends
    when no system turn is given; empty keeps what there is. Raises ConfigError for a scale other
    than 1 where there is no adapter, TrainingError when the process fails.
    """
    if scale != 1 and Path(model.path).is_dir() and not is_fake(model) and not is_adapter(model):
        raise ConfigError(f"scale={scale:g}: {model.path} has full weights, only adapters scale.")
    text = card_text(card) if card is not None else ""
    return trainer(TrainJob(MergeOptions(scale=scale, card=text, system=system), model), out)


def is_adapter(model: Model) -> bool:
    """Returns whether the directory holds an adapter that names its base."""
    return (Path(model.path) / "adapter_config.json").is_file()


def card_text(card: Mapping[str, JSON]) -> str:
    """Returns a model card: `title`, `text` (Markdown), `license` and `base_model` have their places, any
    other key is a line of a table."""
    import yaml

    named = {"title", "text", "license", "base_model"}
    head = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["woolgather"],
        **{k: card[k] for k in ("license", "base_model") if card.get(k)},
    }
    lines = ["---", yaml.safe_dump(head, sort_keys=False).rstrip(), "---", ""]
    lines += [f"# {card.get('title') or 'A model tuned on data it wrote itself'}", ""]
    lines += [str(card["text"]).strip(), ""] if card.get("text") else []
    facts = [(k, v) for k, v in card.items() if k not in named]
    if facts:
        lines += ["| | |", "|---|---|", *(f"| {_cell(k)} | {_cell(v)} |" for k, v in facts), ""]
    return "\n".join(lines)


def _cell(value: JSON) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
