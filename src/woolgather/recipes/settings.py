"""Groups of settings that several methods have in common.

The one idea: the same thing has the same name, the same default and the same help in every method. A
group that an op takes whole lives beside the op.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError
from woolgather.core.intervals import smallest_visible
from woolgather.core.options import Options
from woolgather.engines.base import Sampling
from woolgather.ops.judge.assessors import JUDGING, Questionnaire
from woolgather.ops.judge.audition import AuditionOptions
from woolgather.ops.judge.rubrics import RubricOptions, rubrics_of
from woolgather.ops.measure.evaluate import EvaluationOptions

CHURN = 0.05
"""Share of answers that a training turns each way, from right to wrong and back, without a gain. About
what two system lines did to a model of 135M parameters."""


class Hiring(AuditionOptions):
    """Which assessor rates, and how the audition chooses it."""

    assessor: Literal[
        "audition", "rubric", "expected", "yes_no", "mutual_information", "channel", "none"
    ] = "audition"
    """How rows are rated; audition tries `candidates` on pairs of known order and takes the best."""
    sampling: Sampling = JUDGING
    """How a judge writes."""
    floor: float = Field(default=0.5, ge=0, le=1)
    """Least share of verdicts that can be read; below it the run ends and says what to try."""


class Judging(Hiring):
    """Rating the answers."""

    rubric: RubricOptions = RubricOptions()

    def questionnaire(self) -> Questionnaire:
        """Returns what the judge is asked. Raises InputError for a template that cannot be read."""
        rubrics = tuple(rubrics_of(self.rubric.style, self.rubric.templates))
        return Questionnaire(rubrics=rubrics, sampling=self.sampling)


class Measuring(EvaluationOptions):
    """Looking at each model."""

    select_seed: int = 1
    """Random seed of the probes that select the result; the report uses other probes."""
    report_seed: int = 2
    """Random seed of the probes in the report."""
    tasks: int | None = Field(default=None, ge=1)
    """Held-out tasks that are asked, drawn at random; None asks all of them."""
    map_points: int = Field(default=400, ge=3)
    """Rows of each set that are drawn in the map of what was kept, at most."""
    win_judge: str = ""
    """A model that rates the result's answers beside the base's. It must have rated no training data
    in this run, and passes an audition first; empty leaves the win rate unmeasured."""

    @model_validator(mode="after")
    def _apart(self) -> Measuring:
        if self.select_seed == self.report_seed:
            raise ConfigError(
                f"measure.select_seed and measure.report_seed are both {self.report_seed}: the probes "
                "that select the result would also report on it. Give two different numbers, such as "
                f"measure.report_seed={self.report_seed + 1}."
            )
        return self


class Common(Options):
    """Settings that every method has."""

    base: str | Model = ""
    """Base model: a folder, `repo[@revision]` on the hub, or `embedded`."""
    seeds: str | tuple[str, ...] = ""
    """Seed tasks with responses: a file, a folder, a data set of the hub (`owner/name[@revision]`), or
    several of these; empty takes ours (182)."""
    held_out: str | tuple[str, ...] = ""
    """Tasks to measure on, never synthesised from, in the same places; empty takes ours (80)."""
    base_format: Literal["auto", "raw", "blocks", "chat", "chatml"] = "auto"
    """How the base is asked. raw: the task as text; blocks: the task and its answer under headings;
    chat: in turns, by its template; chatml: in turns of ChatML, without one; auto: in the form in which
    it passes most of a few probes, the seeds' responses deciding by their likelihood where that is
    level."""
    measure: Measuring = Measuring()
    controls: bool = True
    """Also train controls: models that the same effort gives without the method."""
    select_by: Literal["probes", "heldout", "last"] = "probes"
    """The measure in which the result must beat the base; last takes the last model without comparing.
    With heldout one half of the tasks, by a hash of their ids, selects, and the other reports."""
    patience: int | None = Field(default=2, ge=1)
    """Stop after this many iterations without a better model; None never stops early."""

    @property
    def visible(self) -> str:
        """Returns how small a difference the report can see, for plans; "" without probes."""
        if not (n := self.measure.probes):
            return ""
        points = 100 * smallest_visible(round(2 * CHURN * n), n)
        return (
            f"{n} probes see a difference of about {points:.0f} points in four of five runs, where "
            f"{CHURN:.0%} of the answers change each way by chance."
        )

    @property
    def base_name(self) -> str:
        """The base for people: its name without a path of this machine; "" for one of this run."""
        if isinstance(self.base, Model):
            return "" if Path(self.base.path).is_absolute() else self.base.path
        name = self.base
        return Path(name).name if Path(name).is_absolute() or name.startswith((".", "~")) else name
