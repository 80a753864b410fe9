"""Groups of settings that several methods have in common.

The one idea: the same thing has the same name, the same default and the same help in every method. A
group that an op takes whole lives beside the op.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from woolgather.core.artifacts import Model
from woolgather.core.options import Options
from woolgather.engines.base import Sampling
from woolgather.ops.judge.assessors import Candidate
from woolgather.ops.judge.rubrics import RubricOptions


class Hiring(Options):
    """Which assessor rates, and how the audition chooses it."""

    assessor: Literal[
        "audition", "rubric", "expected", "yes_no", "mutual_information", "channel", "none"
    ] = "audition"
    """How rows are rated; audition tries `candidates` on pairs of known order and takes the best."""
    candidates: tuple[Candidate, ...] = (
        "rubric",
        "expected",
        "yes_no",
        "mutual_information",
        "channel",
    )
    """Assessors that take part in the audition."""
    pairs: int = Field(default=160, ge=8)
    """Pairs in an audition, over all kinds."""
    probes: int = Field(default=60, ge=0)
    """Generated test prompts whose checked answers are one kind of pair; 0 leaves that kind out."""
    on_unfit: Literal["stop", "keep_best", "keep_all"] = "keep_best"
    """Where no assessor beats the controls: end the run, take the best all the same, or rate nothing."""
    sampling: Sampling = Sampling(temperature=0.0, max_tokens=48)
    """How a judge writes."""
    floor: float = Field(default=0.5, ge=0, le=1)
    """Least share of verdicts that can be read; below it the run ends and says what to try."""


class Judging(Hiring):
    """Rating the answers."""

    rubric: RubricOptions = RubricOptions()


class Measuring(Options):
    """Looking at each model."""

    probes: int = Field(default=300, ge=0)
    """Generated test prompts with machine checks, for each of the two probe seeds."""
    select_seed: int = 1
    """Random seed of the probes that select the result; the report uses other probes."""
    report_seed: int = 2
    """Random seed of the probes in the report."""
    tasks: int | None = Field(default=None, ge=1)
    """Held-out tasks that are asked, drawn at random; None asks all of them."""
    max_tokens: int = Field(default=128, ge=8)
    """Tokens of an answer, at most."""
    map_points: int = Field(default=400, ge=3)
    """Rows of each set that are drawn in the map of what was kept, at most."""
    likelihood: bool = True
    """Measure how likely the held-out references are, at one fitted temperature, where the engine gives
    log-probabilities."""
    win_judge: str = ""
    """A model that rates the result's answers beside the base's. It must have rated no training data
    in this run, and passes an audition first; empty leaves the win rate unmeasured."""


class Common(Options):
    """Settings that every method has."""

    base: str | Model = ""
    """Base model: a folder, `repo[@revision]` on the hub, or `embedded`."""
    seeds: str = ""
    """File or folder of seed tasks with responses; empty takes ours (182)."""
    held_out: str = ""
    """File of tasks to measure on, never synthesised from; empty takes ours (80)."""
    base_format: Literal["raw", "chat", "auto"] = "auto"
    """How the base is prompted; auto takes the format under which the seeds' responses are likelier."""
    measure: Measuring = Measuring()
    controls: bool = True
    """Also train controls: models that the same effort gives without the method."""
    select_by: Literal["probes", "heldout", "last"] = "probes"
    """The measure in which the result must beat the base; last takes the last model without comparing."""
    patience: int | None = Field(default=2, ge=1)
    """Stop after this many iterations without a better model; None never stops early."""

    @property
    def base_name(self) -> str:
        """The base for people: its name without a path of this machine; "" for one of this run."""
        if isinstance(self.base, Model):
            return "" if Path(self.base.path).is_absolute() else self.base.path
        name = self.base
        return Path(name).name if Path(name).is_absolute() or name.startswith((".", "~")) else name
