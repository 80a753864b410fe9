"""Adapters that vLLM serves on top of their base, and what it is told of them.

The one idea: an adapter that vLLM would read in part only answers as another model, so it is refused
with what to ask in its place: the same weights merged.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from woolgather.core.errors import CapabilityError
from woolgather.core.storage import digest_of
from woolgather.models.digests import file_digests

_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Largest ranks that vLLM reserves room for."""


OURS = "woolgather-"
"""How the name of an adapter begins that one of our runs had loaded."""


def name_adapter(path: str) -> str:
    """Returns the name by which vLLM knows the adapter in the folder `path`: a hash of its files, since
    what was computed by a name is kept for that name."""
    return f"{OURS}{digest_of(file_digests(Path(path)))[:24]}"


@dataclass(frozen=True)
class Adapter:
    """What vLLM has to know of an adapter before it is loaded."""

    path: str
    max_rank: int


def read_adapter(path: str) -> Adapter:
    """Returns the adapter in the folder `path`. Raises CapabilityError for one that has more than
    vLLM serves: trained embeddings, heads or biases, DoRA, a rank beyond 512."""
    config = json.loads((Path(path) / "adapter_config.json").read_text(encoding="utf-8"))
    ranks = [int(config.get("r") or 8), *map(int, (config.get("rank_pattern") or {}).values())]
    beyond = {
        "modules that it trained whole": config.get("modules_to_save"),
        "rows of tokens that it trained": config.get("trainable_token_indices"),
        "DoRA": config.get("use_dora"),
        "biases": config.get("bias", "none") != "none",
        f"a rank of {max(ranks)}": max(ranks) > _RANKS[-1],
    }
    found = [what for what, there in beyond.items() if there]
    if found:
        raise CapabilityError(
            f"{path}: vLLM serves no adapter with {' and '.join(found)}. Ask the merged model (in a run "
            "the folder of the step that ends in -merge), or use --engine transformers."
        )
    return Adapter(path, next(rank for rank in _RANKS if rank >= max(ranks)))
