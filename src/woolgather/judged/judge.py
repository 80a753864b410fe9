"""The judge: its audition, and the question that it grades by.

The one idea: whoever is to say which answers are good first shows that it can tell good answers from bad
ones whose order is known. It is tried on the question that it will grade by, with reasons before the
score as when it compares; a judge that fails judges nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from woolgather.core.artifacts import Choice
from woolgather.core.errors import YieldError
from woolgather.core.rows import Example
from woolgather.engines.base import Engine, Sampling
from woolgather.ops.judge.assessors import Questionnaire, assessor_of
from woolgather.ops.judge.audition import AuditionOptions, audition
from woolgather.ops.judge.rubrics import rubric

JUDGING = Sampling(temperature=0.0, max_tokens=512)
"""A few sentences and a last line. A reply that is cut before its last line is unreadable."""
GRADING = Questionnaire(
    rubrics=(rubric("grade", "grade-answer").model_copy(update={"read": "last_line_score"}),),
    sampling=JUDGING,
)
AUDITION = AuditionOptions(candidates=("rubric",), pairs=100, probes=0)
"""Two answers per pair, so 200 calls. None of its own answers to probes: a server's are dear, and the
built pairs include answers with one fact exchanged."""


def hire(judge: Engine, name: str, seeds: Iterable[Example]) -> Choice:
    """Returns what the audition of the judge found. `seeds` are answered tasks; `name` is what the user
    calls the judge. Raises YieldError where it failed."""
    found = audition(seeds, judge, how=AUDITION, asked=GRADING)
    if not assessor_of(found).fit:
        raise YieldError(
            f"the judge {name} failed its audition, and judges nothing: {found.why}. The answers are "
            "kept; name a stronger judge and give the command again."
        )
    return found
