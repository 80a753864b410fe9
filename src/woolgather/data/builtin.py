"""The rows and texts that ship with woolgather, as files like a user's own."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def builtin_seeds() -> Path:
    """Returns the file of the seed tasks that ship with woolgather."""
    return Path(str(resources.files("woolgather") / "seeds" / "seeds.jsonl"))


def builtin_heldout() -> Path:
    """Returns the file of the held-out tasks that ship with woolgather."""
    return Path(str(resources.files("woolgather") / "seeds" / "heldout.jsonl"))


def builtin_texts() -> Path:
    """Returns the file of the unlabelled texts that ship with woolgather."""
    return Path(str(resources.files("woolgather") / "seeds" / "texts.jsonl"))
