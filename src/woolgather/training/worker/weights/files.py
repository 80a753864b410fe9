"""Tensors in safetensors files, read and written one at a time.

The one idea: the header of a file tells all but the values, so it is written first, and the values
follow as they are made. A model of any size goes through with no more than one tensor in memory.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import AutoConfig
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME
from transformers.utils.hub import cached_file

from woolgather.core.storage import write_json
from woolgather.training.worker.weights.places import Place

NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""What the format calls a dtype; models whose files hold others are not read here."""
_TYPES = {name: dtype for dtype, name in NAMES.items()}
SHARD_BYTES = 4_000_000_000
"""Size of a file, at most, unless a single tensor is larger."""


@dataclass(frozen=True)
class Entry:
    """A tensor that is made, or read, when it is its turn."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    make: Callable[[], torch.Tensor]

    @property
    def size(self) -> int:
        """Returns its bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def to(self, dtype: torch.dtype) -> Entry:
        """Returns the same tensor in another precision; one that is no float stays as it is."""
        if not self.dtype.is_floating_point:
            return self
        return replace(self, dtype=dtype, make=lambda: self.make().to(dtype))


def find_files(name: str, place: Place) -> list[Path]:
    """Returns the safetensors files of a model, a directory or a name on the hub; empty without any."""
    look = partial(cached_file, name, _raise_exceptions_for_missing_entries=False, **place)
    names = [SAFE_WEIGHTS_NAME]
    if look(SAFE_WEIGHTS_NAME) is None:
        index = look(SAFE_WEIGHTS_INDEX_NAME)
        told = json.loads(Path(index).read_text(encoding="utf-8")) if index else {}
        names = sorted(set(told.get("weight_map", {}).values()))
    found = [look(name) for name in names]
    return [] if None in found else [Path(path) for path in found]


def read_entries(files: Sequence[Path]) -> list[Entry]:
    """Returns the tensors of files, in their order there. Raises KeyError for a dtype that is not in
    `NAMES`."""
    entries = []
    for path in files:
        with safe_open(path, "pt") as stored:
            for name in stored.offset_keys():
                part = stored.get_slice(name)
                dtype, shape = _TYPES[part.get_dtype()], tuple(part.get_shape())
                entries.append(Entry(name, dtype, shape, partial(_read, path, name)))
    return entries


def _read(path: Path, name: str) -> torch.Tensor:
    """Opened for each tensor: what was read counts as this process's memory until it is closed."""
    with safe_open(path, "pt") as stored:
        tensor: torch.Tensor = stored.get_tensor(name)
        return tensor


def write_entries(
    folder: Path, entries: Sequence[Entry], most: int = SHARD_BYTES, *, write: bool = True
) -> None:
    """Make each tensor and write it, to files of `most` bytes and an index of them, or to one file.

    Where several processes make a tensor together, all call this, and one has `write`."""
    shards = list(_cut(entries, most))
    names = [f"model-{n:05}-of-{len(shards):05}.safetensors" for n in range(1, len(shards) + 1)]
    if len(shards) == 1:
        names = [SAFE_WEIGHTS_NAME]
    for name, shard in zip(names, shards, strict=True):
        if write:
            _write_file(folder / name, shard)
        else:
            for entry in shard:
                entry.make()
    if write and len(shards) > 1:
        told = {
            "metadata": {
                "total_parameters": sum(math.prod(entry.shape) for entry in entries),
                "total_size": sum(entry.size for entry in entries),
            },
            "weight_map": {e.name: name for name, s in zip(names, shards, strict=True) for e in s},
        }
        write_json(folder / SAFE_WEIGHTS_INDEX_NAME, told)


def convert_files(folder: Path, dtype: torch.dtype) -> None:
    """Store the weights in a directory in another precision, and let its config say so."""
    for path in sorted(folder.glob("*.safetensors")):
        entries = read_entries([path])
        if all(e.dtype == dtype for e in entries if e.dtype.is_floating_point):
            continue
        half = path.with_name(f".{path.name}")
        _write_file(half, [entry.to(dtype) for entry in entries])
        half.replace(path)
    settings = AutoConfig.from_pretrained(folder, local_files_only=True)
    settings.dtype = dtype
    settings.save_pretrained(folder)


def _cut(entries: Sequence[Entry], most: int) -> Iterator[list[Entry]]:
    """Yields the entries of one file after the other."""
    shard: list[Entry] = []
    for entry in entries:
        if shard and sum(e.size for e in shard) + entry.size > most:
            yield shard
            shard = []
        shard.append(entry)
    yield shard


def _write_file(path: Path, entries: Sequence[Entry]) -> None:
    """The format: bytes of the header (8, little-endian), header, values one behind the other
    (https://huggingface.co/docs/safetensors)."""
    # Wide values first, so that each starts at a multiple of its width.
    ordered = sorted(entries, key=lambda entry: -entry.dtype.itemsize)
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for entry in ordered:
        start, end = end, end + entry.size
        header[entry.name] = {
            "dtype": NAMES[entry.dtype],
            "shape": entry.shape,
            "data_offsets": (start, end),
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for entry in ordered:
            value = entry.make()
            if (value.dtype, tuple(value.shape)) != (entry.dtype, entry.shape):
                raise ValueError(f"{entry.name}: {value.dtype} {tuple(value.shape)} was made of it")
            file.write(value.contiguous().flatten().view(torch.uint8).numpy().data)
