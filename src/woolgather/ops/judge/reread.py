"""What a judge's replies say, read leniently and strictly: several readings of the same replies.

The one idea: how a reply is read is not how it was asked for. In a published run of instruction
backtranslation 45 % of the replies had no readable score under one reading and 67 % under the
other, and which rows are trained on hangs on it. Reading again costs no call. Our two readings decide;
those of that run's scripts are counted beside them, so that its histogram can be laid beside ours.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator, Iterable
from dataclasses import replace

from woolgather.core.op import op
from woolgather.core.rows import Example, Verdict, set_aside
from woolgather.core.views import View, alarm, histogram, table
from woolgather.ops.judge.rubrics import Rubric, literal_score

PUBLISHED = {
    "published, lenient": re.compile(r"[Ss]core:\s*(\d+)"),
    "published, strict": re.compile(r"[Ss]core:\s*(\d+)$"),
}
"""How the unofficial implementation of Humback finds a score: the first "score: N" anywhere in a reply
(Spico197/Humback at d09f208, src/core/filter_curation_results.py), or one at the very end of it."""


def published_score(reply: str, reading: str) -> int | None:
    """Returns the score that a reply has under one of the readings PUBLISHED; None without one."""
    found = PUBLISHED[reading].search(reply)
    return int(found[1]) if found else None


@op("read_again")
def read_again(
    rows: Iterable[Example],
    *,
    rubric: Rubric,
    strict: bool = False,
    window: tuple[int, int] = (10, 800),
) -> Generator[Example, None, list[View]]:
    """Yields every row, its verdict of `rubric` read again from the reply.

    Lenient: the score is anywhere on the reply's last line. `strict`: it is the very end of the
    reply, and the instruction has `window[0]` to `window[1]` characters, otherwise the row is set
    aside as instruction_length. Rows that another assessor rated stay as they are. The views count
    every score as it literally stands there, in range or not, under both readings, and under the two
    of the published scripts.
    """
    scores: dict[str, list[float]] = {"lenient": [], "strict": []}
    counts: dict[str, Counter[str]] = {name: Counter() for name in (*scores, *PUBLISHED)}
    rated = 0
    for row in rows:
        verdict = row.verdicts.get(rubric.name)
        if verdict is None:
            yield row
            continue
        rated += 1
        read: dict[str, float | None] = {}
        for name in PUBLISHED:
            found = published_score(verdict.text, name)
            counts[name]["none" if found is None else str(found)] += 1
        for name in scores:
            literal = literal_score(verdict.text, strict=name == "strict")
            counts[name]["none" if literal is None else f"{literal.value:g}"] += 1
            score = None if literal is None else rubric.score(verdict.text)
            read[name] = score
            if score is not None:
                scores[name].append(score)
        again = Verdict(read["strict" if strict else "lenient"], verdict.text)
        row = replace(row, verdicts={**row.verdicts, rubric.name: again})
        outside = strict and not window[0] <= len(row.instruction) <= window[1]
        yield set_aside(row, "instruction_length") if outside else row
    if not rated:
        text = "No row has a reply to this rubric: the scores are another assessor's."
        return [alarm("Not read again", text, "note")]
    return _views(rubric, counts, scores)


def _views(
    rubric: Rubric, counts: dict[str, Counter[str]], scores: dict[str, list[float]]
) -> list[View]:
    edges = [rubric.low - 0.5 + i for i in range(round(rubric.high - rubric.low) + 2)]
    literal = sorted({score for found in counts.values() for score in found} - {"none"}, key=float)
    rows = [[name, *(found[name] for found in counts.values())] for name in [*literal, "none"]]
    return [
        histogram("Scores under two readings", scores, edges=edges, x="score"),
        table(
            "Every score as it stands in the replies",
            ["score", *counts],
            rows,
            f"Lenient: anywhere on the last line; strict: at the very end. Outside of "
            f"{rubric.low:g} to {rubric.high:g} it counts as unreadable, like none. Published: as the "
            'unofficial implementation reads, the first "score: N" anywhere, or one at the very end; it '
            "found none in 45 % and 67 % of 482,963 replies.",
        ),
    ]
