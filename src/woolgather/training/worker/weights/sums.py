"""What an adapter adds to its base, one tensor at a time.

The one idea: a plain low-rank adapter changes each matrix by itself, so the sum needs no model: a tensor
of the base is read, changed in float32, and written. What is not as plain (an adapter of another kind,
files that name tensors otherwise than the model does, a quantized base) is left to peft and transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import peft
import torch
import transformers
from safetensors import SafetensorError

from woolgather.core.errors import ConfigError
from woolgather.training.worker.weights.files import Entry, find_files, read_entries
from woolgather.training.worker.weights.places import Place, place_of

Change = Callable[[torch.Tensor], torch.Tensor]
"""From a tensor of the base to that of the sum, both float32."""
_INSIDE = "base_model.model."
"""How peft begins the name of each tensor of an adapter."""
_LORA = ".lora_"
_ROWS = ".token_adapter.trainable_tokens_delta"


@dataclass(frozen=True)
class Sum:
    """A model that is written without being loaded."""

    config: transformers.PretrainedConfig
    entries: list[Entry]


def find_base(start: str) -> tuple[str, Place, peft.PeftConfig | None]:
    """Returns where the full weights of a model are, and its adapter's settings; None where it has
    none."""
    source, place = place_of(start)
    if not (Path(source) / "adapter_config.json").is_file():
        return source, place, None
    adapter = peft.PeftConfig.from_pretrained(source)
    base, place = place_of(str(adapter.base_model_name_or_path))
    if adapter.revision and not Path(base).is_dir():
        place["revision"] = adapter.revision
    return base, place, adapter


def read_sum(start: str, scale: float) -> Sum | None:
    """Returns the model at `start`, with `scale` times its adapter if it is one, in the precision that
    its base is stored in; None where that cannot be done tensor by tensor."""
    base, place, adapter = find_base(start)
    changes = read_changes(Path(start), adapter, scale) if adapter else {}
    config = transformers.AutoConfig.from_pretrained(base, **place)
    if changes is None or getattr(config, "quantization_config", None):
        return None
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    own = {name: tuple(t.shape) for name, t in weights_of(model).items()}
    try:
        stored = read_entries(find_files(base, place))
    except (KeyError, SafetensorError):
        return None
    entries = [entry for entry in stored if entry.name not in tied_names(model)]
    if {e.name: e.shape for e in entries} != own or not changes.keys() <= own.keys():
        return None
    config.dtype = config.dtype or entries[0].dtype
    config.architectures = [type(model).__name__]
    return Sum(config, [_add(e, changes.get(e.name)).to(config.dtype) for e in entries])


def weights_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Returns the tensors that are saved of a model: one of each pair that is tied."""
    left_out = tied_names(model) | set(getattr(model, "_keys_to_ignore_on_save", None) or ())
    return {name: t for name, t in model.state_dict().items() if name not in left_out}


def tied_names(model: torch.nn.Module) -> frozenset[str]:
    """Returns the names of tensors that are another one's, which alone is stored."""
    return frozenset(getattr(model, "all_tied_weights_keys", None) or ())


def read_changes(folder: Path, adapter: peft.PeftConfig, scale: float) -> dict[str, Change] | None:
    """Returns by the name of a tensor what `scale` times the adapter makes of it; None for an adapter
    that is more than low-rank matrices and trained rows."""
    if not isinstance(adapter, peft.LoraConfig):
        return None
    if adapter.use_rslora or adapter.use_dora or adapter.rank_pattern or adapter.alpha_pattern:
        return None
    weights = peft.utils.load_peft_weights(str(folder), device="cpu")
    found = {name.removeprefix(_INSIDE): tensor.float() for name, tensor in weights.items()}
    factor = adapter.lora_alpha / adapter.r * scale
    changes: dict[str, Change] = {}
    for name, tensor in found.items():
        if name.endswith(_ROWS):
            module = name.removesuffix(_ROWS)
            indices = _indices(adapter, module)
            changes[f"{module}.weight"] = partial(_move_rows, tensor, indices, scale)
            continue
        module, sign, part = name.rpartition(_LORA)
        if not sign or part not in ("A.weight", "B.weight") or tensor.ndim != 2:
            return None
        down, up = (found[f"{module}{_LORA}{side}.weight"] for side in "AB")
        changes[f"{module}.weight"] = partial(
            _add_product, down, up, factor, turned=adapter.fan_in_fan_out
        )
    return changes


def _indices(adapter: peft.LoraConfig, module: str) -> list[int]:
    """Returns which rows of a module an adapter has trained."""
    asked = adapter.trainable_token_indices
    if isinstance(asked, Mapping):
        return next(list(rows) for name, rows in asked.items() if f".{module}".endswith(f".{name}"))
    return list(asked or ())


def _add_product(
    down: torch.Tensor, up: torch.Tensor, factor: float, base: torch.Tensor, *, turned: bool
) -> torch.Tensor:
    product = up @ down
    return base + (product.T if turned else product) * factor


def _move_rows(
    rows: torch.Tensor, indices: list[int], scale: float, base: torch.Tensor
) -> torch.Tensor:
    """What is stored of a trained row is the row, not what was added to it."""
    moved = base.clone()
    moved[indices] = base[indices] + scale * (rows - base[indices])
    return moved


def _add(entry: Entry, change: Change | None) -> Entry:
    if change is None:
        return entry

    def make() -> torch.Tensor:
        total = change(entry.make().float())
        if not total.isfinite().all():
            raise ConfigError(
                f"{entry.name}: what the adapter adds is no finite number, so its training has diverged. "
                "Train again with a lower learning_rate (--redo with the name of the training's step)."
            )
        return total

    return replace(entry, dtype=torch.float32, make=make)
