"""Groups of settings that several methods have in common.

The one idea: the same thing has the same name, the same default and the same help in every method. A
group knows how the op that it is for takes it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from woolgather.core.artifacts import Model
from woolgather.core.options import Options
from woolgather.engines.base import Sampling
from woolgather.ops.curate.instruction_rules import InstructionRules
from woolgather.ops.curate.rouge_l import NoveltyOptions
from woolgather.ops.generate.demos import DemoOptions
from woolgather.ops.judge.assessors import JUDGING, Questionnaire
from woolgather.ops.judge.audition import AuditionOptions
from woolgather.ops.judge.rubrics import RubricOptions, rubrics_of
from woolgather.ops.measure.evaluate import EvaluationOptions


class Synthesis(Options):
    """Writing new instructions."""

    template: str = "synthesize"
    """One of our templates, or the path of a .md file."""
    format: Literal["raw", "chat", "auto"] = "auto"
    """raw: the list is a text to complete; chat: it is a user turn, and the reply begins with its next
    number; auto: as the model is prompted."""
    items: int = Field(default=20, ge=2)
    """Tasks that the list in the prompt is said to have; the demos are its first ones."""
    demos: DemoOptions = DemoOptions()
    sampling: Sampling = Sampling(temperature=1.0, top_p=0.95, max_tokens=1000)
    rules: InstructionRules = InstructionRules()
    novelty: NoveltyOptions = NoveltyOptions()
    wave: int = Field(default=32, ge=1)
    """Prompts asked between two looks at what was accepted."""
    max_prompts: int | None = Field(default=None, ge=1)
    """Prompts asked at most; None: two for each task wanted and 64 to begin with."""


class Responding(Options):
    """Answering them."""

    sampling: Sampling = Sampling(temperature=0.7, top_p=0.95, max_tokens=512)
    samples: int = Field(default=1, ge=1)
    """Responses to each instruction; with more than one, keep one (`keep.by=best_of_n`)."""
    shots: int = Field(default=5, ge=0)
    """Fixed demo blocks before the task of a model that is prompted as raw text."""
    unfinished: Literal["set_aside", "keep"] = "set_aside"
    """What becomes of responses that ran into max_tokens."""


class Hiring(AuditionOptions):
    """Who rates, and how it is found out."""

    assessor: Literal[
        "audition", "rubric", "expected", "yes_no", "mutual_information", "channel", "none"
    ] = "audition"
    """How rows are rated; audition tries `candidates` on pairs of known order and takes the best."""
    sampling: Sampling = JUDGING
    """How a judge writes."""
    floor: float = Field(default=0.5, ge=0, le=1)
    """Least share of readable verdicts; below it the run ends with advice."""


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
    """Probes that decide; the report's are of another seed."""
    report_seed: int = 2
    tasks: int | None = Field(default=None, ge=1)
    """Held-out tasks that are asked, drawn at random; None asks all of them."""
    map_points: int = Field(default=400, ge=3)
    """Rows of each set that are drawn in the map of what was kept, at most."""
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
    """How the base is prompted; auto takes the format under which the seeds' responses cost less."""
    measure: Measuring = Measuring()
    controls: bool = True
    """Train on what the same effort buys without the method, beside the result."""
    select_by: Literal["probes", "heldout", "last"] = "probes"
    """What the result must be better than the base in; last takes the last model."""
    patience: int | None = Field(default=2, ge=1)
    """Stop after this many iterations without a better one; None never stops early."""

    @property
    def base_name(self) -> str:
        """The base for people: its name without a path of this machine; "" for one of this run."""
        if isinstance(self.base, Model):
            return "" if Path(self.base.path).is_absolute() else self.base.path
        name = self.base
        return Path(name).name if Path(name).is_absolute() or name.startswith((".", "~")) else name
