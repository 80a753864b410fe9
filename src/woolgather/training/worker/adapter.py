"""What an adapter may change: the layers it stands on, and an end token that nobody has trained.

The one idea: training is asked to teach the end token, and an adapter on linear layers cannot move the
token's own row of the embeddings. Where that row was never trained (chat tokens that were added to a
base's vocabulary) the row is trained beside the adapter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import peft
import torch
import transformers
from peft.utils.other import TrainableTokensWrapper

from woolgather.core.errors import ConfigError
from woolgather.core.rows import JSON
from woolgather.prompting.renderer import Renderer
from woolgather.training.job import ALL_LINEAR
from woolgather.training.worker.weights.places import place_of

if TYPE_CHECKING:
    from woolgather.training.worker.setup import AnySetup

FAR = 2.0
"""An end token's row this many times longer, or shorter, than the median row was not trained with the
others. Rows of trained end tokens are within a fifth of it."""


@dataclass(frozen=True)
class UntrainedEnd:
    """An end token whose row of the embeddings is far from the others."""

    token: str
    index: int
    norm: float
    """Length of its row in the matrix that makes the logits."""
    median: float
    """Median length of that matrix's rows."""
    modules: tuple[str, ...]
    """The modules whose rows have to be trained; none where that cannot be done."""

    def to_json(self) -> dict[str, JSON]:
        """Returns what result.json says of it."""
        norms: dict[str, JSON] = {"norm": self.norm, "median": self.median}
        return {"token": self.token, **norms, "trained": bool(self.modules)}


def find_untrained_end(
    model: transformers.PreTrainedModel, renderer: Renderer
) -> UntrainedEnd | None:
    """Returns the end token of replies where its rows were never trained; None where they were."""
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    places = {module: name for name, module in model.named_modules() if module in ends}
    index, (into, out) = renderer.end_id, ends
    norm, median = _norms(out, index)
    if not _is_far(norm, median):
        return None
    tied = into.weight is out.weight
    modules = [places[into]] if tied or _is_far(*_norms(into, index)) else []
    modules += [] if tied else [places[out]]
    if getattr(out, "bias", None) is not None:  # peft would drop it beside a trained row
        modules = []
    token = renderer.tokenizer.decode([index])
    return UntrainedEnd(token, index, norm, median, tuple(modules))


def _norms(matrix: torch.nn.Module, index: int) -> tuple[float, float]:
    """Returns the length of row `index`, and the median one."""
    weight = matrix.get_parameter("weight").detach()
    norms = torch.linalg.vector_norm(weight, dim=1, dtype=torch.float32)
    return float(norms[index]), float(norms.median())


def _is_far(norm: float, median: float) -> bool:
    return norm * FAR < median or norm > median * FAR


def adapter_for(setup: AnySetup) -> peft.LoraConfig | None:
    """Returns the adapter to train; None where all weights are. Raises ConfigError for a layer that the
    model does not have."""
    lora, end = setup.config.lora, setup.untrained_end
    if lora is None:
        return None
    rows = {name: [end.index] for name in end.modules} if end else {}
    return peft.LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=_targets(setup.model, lora.target_modules),
        trainable_token_indices=rows or None,
        task_type="CAUSAL_LM",
        revision=place_of(setup.job.start.path)[1].get("revision"),
    )


def _targets(model: transformers.PreTrainedModel, names: tuple[str, ...]) -> str | list[str]:
    if names == (ALL_LINEAR,):
        return ALL_LINEAR
    layers = set(_adaptable(model))
    known = {layer.rpartition(".")[2] for layer in layers}
    for name in names:
        if not any(layer == name or layer.endswith(f".{name}") for layer in layers):
            raise ConfigError(
                f"lora.target_modules: {model.config.model_type} has no layer {name!r} for an adapter. "
                f"It has: {', '.join(sorted(known))}."
            )
    return list(names)


def _adaptable(model: transformers.PreTrainedModel) -> Iterator[str]:
    """Yields the names of the linear layers, without the one that makes the logits."""
    head = model.get_output_embeddings()
    kinds = (torch.nn.Linear, transformers.pytorch_utils.Conv1D)
    yield from (n for n, m in model.named_modules() if isinstance(m, kinds) and m is not head)


def trained_rows(model: torch.nn.Module) -> Iterator[TrainableTokensWrapper]:
    """Yields the modules of which an adapter trains single rows."""
    yield from (m for m in model.modules() if isinstance(m, TrainableTokensWrapper))


def show_bias(model: torch.nn.Module) -> None:
    """Let the modules with trained rows have the attribute `bias` that TRL's loss asks for; peft shows
    their weight alone. There is never one, see `find_untrained_end`."""
    for module in trained_rows(model):
        module.bias = None


def scale_rows(model: torch.nn.Module, scale: float) -> None:
    """Set each trained row to base + `scale` times what training has added to it."""
    for module in trained_rows(model):
        layer = module.token_adapter
        if layer.tied_adapter:  # its rows are those of the module that it is tied to
            continue
        for name, row in layer.trainable_tokens_delta.items():
            base = layer.base_layer.weight.data[layer.token_indices[name]].to(row)
            row.data = base + scale * (row.data - base)
