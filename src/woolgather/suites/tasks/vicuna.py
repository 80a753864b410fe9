"""What is measured of an answer that only a judge can rate: its length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def count_words(doc: Mapping[str, object], results: Sequence[str]) -> dict[str, int]:
    """Returns the words of the one answer in `results`."""
    return {"words": len(results[0].split())}
