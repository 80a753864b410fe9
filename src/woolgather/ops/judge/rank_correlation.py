"""Whether a score follows length, or any other number: correlation of ranks."""

from __future__ import annotations

from collections.abc import Sequence


def spearman(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Returns the rank correlation of two equally long series, in [-1, 1]; None with fewer than three
    points or where one does not vary. Raises ValueError for unequal lengths."""
    from scipy.stats import spearmanr

    if len(x) != len(y):
        raise ValueError(f"spearman needs equal lengths, not {len(x)} and {len(y)}")
    if len(x) < 3 or len(set(x)) < 2 or len(set(y)) < 2:
        return None
    return float(spearmanr(x, y).statistic)
