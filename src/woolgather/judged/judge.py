"""What the judge is asked: how it writes, and the question that it grades by.

The one idea: reasons come before the verdict, which stands alone on the last line, whether it grades or
compares.
"""

from __future__ import annotations

from woolgather.engines.base import Sampling
from woolgather.ops.judge.assessors import Questionnaire
from woolgather.ops.judge.rubrics import rubric

JUDGING = Sampling(temperature=0.0, max_tokens=512)
"""A few sentences and a last line. A reply that is cut before its last line is unreadable."""
GRADING = Questionnaire(
    rubrics=(rubric("grade", "grade-answer").model_copy(update={"read": "last_line_score"}),),
    sampling=JUDGING,
)
