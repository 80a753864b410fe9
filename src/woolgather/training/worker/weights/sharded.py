"""Weights that processes share out by FSDP2: saved, and put back, with no process holding them all.

The one idea: a tensor is gathered when it is its turn to be written, in the precision it is stored in,
and each process takes its own part of a tensor that is read. The same code serves weights that are whole
in one process.
"""

from __future__ import annotations

from pathlib import Path

import peft
import torch
import transformers
from torch.distributed.tensor import DTensor, distribute_tensor

from woolgather.training.worker.weights.files import (
    SHARD_BYTES,
    Entry,
    find_files,
    read_entries,
    write_entries,
)
from woolgather.training.worker.weights.sums import weights_of

_ADAPTER = ".default"
"""How peft names the only adapter within the names of its tensors in memory; files do without."""


def is_stored_as_named(model: torch.nn.Module) -> bool:
    """Returns whether files name and cut a model's tensors as it does itself; transformers loads some
    architectures (mixtures of experts) into other tensors than are stored."""
    return not getattr(model, "_weight_conversions", None)


def save_weights(
    model: transformers.PreTrainedModel,
    folder: Path,
    dtype: torch.dtype,
    *,
    write: bool,
    most: int = SHARD_BYTES,
) -> None:
    """Save a model's weights as `dtype`, its config and its generation config. All processes call this,
    and the one that has `write` writes."""
    if write:
        folder.mkdir(parents=True, exist_ok=True)
        config = type(model.config).from_dict(model.config.to_dict())
        config.dtype, config.architectures = dtype, [type(model).__name__]
        config.save_pretrained(folder)
        model.generation_config.save_pretrained(folder)
    write_entries(
        folder,
        [_entry_of(name, tensor, dtype) for name, tensor in weights_of(model).items()],
        most,
        write=write,
    )


def save_adapter(model: peft.PeftModel, folder: Path, *, write: bool) -> None:
    """Save the adapter of a model. All processes call this, and the one that has `write` writes."""
    trained = {
        name: _gather(parameter)
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    if write:
        model.save_pretrained(str(folder), state_dict=trained)


@torch.no_grad()
def put_back(model: torch.nn.Module, folder: Path) -> None:
    """Give a model the weights, or the adapter, that were saved of it."""
    if isinstance(model, peft.PeftModel):
        files = [folder / peft.utils.SAFETENSORS_WEIGHTS_NAME]
        own = {
            name.replace(_ADAPTER, ""): parameter
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
    else:
        files, own = find_files(str(folder), {"local_files_only": True}), weights_of(model)
    stored = {entry.name: entry for entry in read_entries(files)}
    for name, tensor in own.items():
        value = stored[name].make().to(tensor.device, tensor.dtype)
        if isinstance(tensor, DTensor):
            # From no process to the others: each has read the tensor and takes its part.
            mesh, places = tensor.device_mesh, tensor.placements
            value = distribute_tensor(value, mesh, places, src_data_rank=None)
        tensor.copy_(value)


def _entry_of(name: str, tensor: torch.Tensor, dtype: torch.dtype) -> Entry:
    stored = dtype if tensor.is_floating_point() else tensor.dtype
    return Entry(name, stored, tuple(tensor.shape), lambda: _gather(tensor.to(stored)))


def _gather(tensor: torch.Tensor) -> torch.Tensor:
    whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return whole.detach().cpu()
