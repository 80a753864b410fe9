"""The scores that the unofficial implementation of Humback published, to lay a run's beside them.

The one idea: a share of scores says something only beside another. These are of one run, with its own
base, texts and prompt, so that shapes can be compared and counts cannot. Source: Spico197/Humback at
43c0086, README.md, "Self-Curation Prompting".
"""

from __future__ import annotations

from collections.abc import Mapping

from woolgather.core.rows import JSON
from woolgather.core.views import View, put_behind

PAIRS = 482_963
"""Pairs that were rated, under each reading."""
SCORES: Mapping[str, Mapping[int, int]] = {
    "published, lenient": {1: 13_083, 2: 9_288, 3: 102_756, 4: 119_211, 5: 21_301},
    "published, strict": {1: 11_921, 2: 7_260, 3: 71_851, 4: 53_120, 5: 16_460},
}
"""Pairs by their score from 1 to 5, by reading; all others have none, or one that is out of range."""
NAME = "the published run"


def lay_beside(reading: str, counts: Mapping[float | None, int]) -> View:
    """Returns a histogram of a run's scores from 1 to 5 under a published reading, beside those of the
    published run; `counts` has the run's replies by score, None for those without one."""
    published = SCORES[reading]
    scores = sorted(published)
    own = [counts.get(score, 0) for score in scores]
    series: dict[str, JSON] = {
        "this run": [sum(counts.values()) - sum(own), *own],
        NAME: [PAIRS - sum(published.values()), *(published[score] for score in scores)],
    }
    edges = [score - 0.5 for score in range(scores[-1] + 2)]
    title = f"Scores beside the published run, {reading.rpartition(' ')[2]} reading"
    x = "score; 0 is none, or none from 1 to 5"
    note = (
        "The published run is that of the unofficial implementation (Spico197/Humback at 43c0086, "
        "README.md), with a base and texts of its own: its shape can be compared."
    )
    data: dict[str, JSON] = {"edges": edges, "series": series, "x": x}
    return put_behind(View("histogram", title, data, note), NAME)
