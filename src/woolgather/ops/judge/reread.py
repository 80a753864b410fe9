"""What a judge's replies say under several readings: ours, lenient and strict, and the published ones.

The one idea: how a reply is read is not how it was asked for. In a published run of instruction
backtranslation 45 % of the replies had no score under one reading and 67 % under the other, and which
rows are trained on hangs on it. Reading again costs no call. The published readings stand beside ours,
so that a run can be laid beside those shares; no row is kept by them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field, replace

from woolgather.core.op import op
from woolgather.core.rows import Example, Verdict, set_aside
from woolgather.core.views import View, alarm, histogram, table, table_cell
from woolgather.ops.judge.published_scores import lay_beside
from woolgather.ops.judge.rubrics import Rubric
from woolgather.ops.judge.score_reading import CUT, Stated

PUBLISHED = {
    "published, lenient": re.compile(r"[Ss]core:\s*(\d+)"),
    "published, strict": re.compile(r"[Ss]core:\s*(\d+)$"),
}
"""How the unofficial implementation of Humback finds a score: the first "score: N" anywhere in a reply
(Spico197/Humback at d09f208, src/core/filter_curation_results.py), or one at the very end of it."""
READINGS = ("lenient", "strict", *PUBLISHED)


def published_score(reply: str, reading: str) -> int | None:
    """Returns the score that a reply has under one of the readings PUBLISHED; None without one."""
    # The mark of a cut reply is ours; the published readings know nothing of limits.
    found = PUBLISHED[reading].search(reply.removesuffix(f"\n{CUT}"))
    return int(found[1]) if found else None


@op("read_again", version=2, needs={"rows": ("verdicts",)})
def read_again(
    rows: Iterable[Example],
    *,
    rubric: Rubric,
    strict: bool = False,
    window: tuple[int, int] = (10, 800),
) -> Generator[Example, None, list[View]]:
    """Yields every row, its verdict of `rubric` read again from the reply.

    Lenient: as the rubric reads (score_reading.py). `strict`: the score must be the very end of the
    reply, and the instruction must have `window[0]` to `window[1]` characters, otherwise the row is set
    aside as instruction_length. Rows that another assessor rated stay as they are. The views count
    every score as it literally stands there, in range or not, under both readings and the published
    ones.
    """
    tally = _ByReading(rubric)
    for row in rows:
        verdict = row.verdicts.get(rubric.name)
        if verdict is None:
            yield row
            continue
        stated = _read(rubric, verdict.text)
        tally.add(stated)
        own = stated["strict" if strict else "lenient"]
        score = None if own is None else own.on(rubric.low, rubric.high)
        again = Verdict(score, verdict.text)
        row = replace(row, verdicts={**row.verdicts, rubric.name: again})
        outside = strict and not window[0] <= len(row.instruction) <= window[1]
        yield set_aside(row, "instruction_length") if outside else row
    if not tally.rated:
        text = "No row has a reply to this rubric: the scores are another assessor's."
        return [alarm("Not read again", text, "note")]
    return tally.views()


def _read(rubric: Rubric, reply: str) -> dict[str, Stated | None]:
    """Returns what a reply states, by reading."""
    found = rubric.find(reply)
    stated = {"lenient": found, "strict": found if found and found.last else None}
    for reading in PUBLISHED:
        score = published_score(reply, reading)
        stated[reading] = None if score is None else Stated(score)
    return stated


@dataclass
class _ByReading:
    """What the replies stated, counted by reading."""

    rubric: Rubric
    rated: int = 0
    counts: dict[str, Counter[float | None]] = field(
        default_factory=lambda: {name: Counter() for name in READINGS}
    )
    """Replies by the score that stands there, None where none does."""

    def add(self, stated: dict[str, Stated | None]) -> None:
        self.rated += 1
        for name, found in stated.items():
            self.counts[name][None if found is None else found.value] += 1

    def views(self) -> list[View]:
        low, high = self.rubric.low, self.rubric.high
        on_scale = (low, high) == (1, 5)  # the scale that the published scores are on
        edges = [low - 0.5 + i for i in range(round(high - low) + 2)]
        literal = sorted(
            {score for counts in self.counts.values() for score in counts if score is not None}
        )
        scores = {
            name: [
                score for score in counts.elements() if score is not None and low <= score <= high
            ]
            for name, counts in self.counts.items()
        }
        rows = [
            [f"{score:g}", *(self.counts[name][score] for name in READINGS)] for score in literal
        ]
        none = [self.counts[name][None] for name in READINGS]
        shares = [table_cell(count / self.rated, "percent") for count in none]
        return [
            histogram("Scores under four readings", scores, edges=edges, x="score"),
            *(lay_beside(name, self.counts[name]) for name in PUBLISHED if on_scale),
            table(
                "Every score as it stands in the replies",
                ["score", *READINGS],
                [*rows, ["none", *none], ["none, of all", *shares]],
                "Lenient: what the last line states; strict: at the very end of the reply. Published "
                'lenient: the first "Score:" with a number anywhere; published strict: the same at the '
                "very end; the published run has 45 % and 67 % without a score. Outside of "
                f"{low:g} to {high:g} a score counts as unreadable, like none.",
            ),
        ]
