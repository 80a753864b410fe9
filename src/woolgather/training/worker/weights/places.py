"""Where a model's weights are, and in what form they are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import transformers

Place = dict[str, object]
"""Arguments of `from_pretrained` beside the name."""


def place_of(path: str) -> tuple[str, Place]:
    """Returns how transformers is told where a model is: an absolute directory, or a name on the hub."""
    if Path(path).is_dir():
        return str(Path(path).resolve()), {"local_files_only": True}
    name, _, revision = path.partition("@")
    return name, {"revision": revision} if revision else {}


def read_stored_dtype(path: str, place: Mapping[str, object]) -> torch.dtype:
    """Returns what a model's weights are stored in, by its config; float32 where it does not say."""
    dtype = transformers.AutoConfig.from_pretrained(path, **place).dtype
    return dtype if isinstance(dtype, torch.dtype) else torch.float32
