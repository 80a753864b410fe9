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
from woolgather.ops.curate.contamination import Contamination
from woolgather.ops.judge.assessors import JUDGING, Questionnaire
from woolgather.ops.judge.audition import AuditionOptions
from woolgather.ops.judge.rubrics import RubricOptions, rubrics_of
from woolgather.ops.measure.evaluate import EvaluationOptions
from woolgather.ops.measure.probe_sets import APART, CHURN, expect_visible
from woolgather.ops.measure.tax.choices import ScoredBy
from woolgather.prompting.template_choice import AUTO, ChatTemplate
from woolgather.suites.bench import HarnessOptions


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

    calibration: int = Field(default=72, ge=0)
    """Probes that the base, shown answered tasks, is asked to fix `tier` where none is named: the one
    that is neither too easy nor too hard for it. 0: probes of every tier select."""
    margin: int = Field(default=250, ge=0)
    """Probes whose right answer is compared with a near miss by likelihood, where the engine can; this
    chooses among ways to train and claims nothing. 0 leaves it out."""
    tasks: int | None = Field(default=None, ge=1)
    """Held-out tasks that are asked, drawn at random; None asks all of them."""
    guard: str = ""
    """Local file of multiple-choice questions (JSONL of question, options and answer; exports of MMLU and
    ARC) that the base, every iteration and every trained control answer. A candidate that lost clearly
    more than `guard_margin` is not selected, and such a control is no rival. Empty guards nothing."""
    guard_by: ScoredBy = "letters"
    """What of each option is scored: its letter, or its text, by which small models show what they know.
    Texts take an engine that scores whole texts."""
    guard_margin: float = Field(default=0.02, ge=0, lt=1)
    """Accuracy on the guard's questions that a candidate may lose against the base, in [0, 1)."""
    win_judge: str = ""
    """A model that rates the result's answers beside the base's. It must have rated no training data
    in this run, and passes an audition first; empty leaves the win rate unmeasured."""


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
    chat_template: ChatTemplate = AUTO
    """What the base and the models tuned from it are asked and trained with as a chat. auto: the
    tokenizer's own template, without a system line that it puts in, and where it has none chatml, or
    blocks for a vocabulary without the tokens of ChatML; own: the tokenizer's own as it is; one of ours:
    blocks (the task and its answer under headings, as a base can be asked), chatml, plain (turns named
    User and Assistant), qwen (ChatML with Qwen's system line) or spin-instruction (as the paper of SPIN
    asks); or the path of a .jinja file."""
    measure: Measuring = Measuring()
    bench: str = ""
    """A suite of lm-evaluation-harness that the base, every iteration and the controls go through at the
    end: isheep, humback, dromedary or spin (the tasks of that paper), or a YAML file of your own. Empty
    leaves it out."""
    harness: HarnessOptions = HarnessOptions()
    contamination: Contamination = Contamination()
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
        return (
            f"{n} probes see a difference of about {100 * expect_visible(n):.0f} points in four of five "
            f"runs, where {CHURN:.0%} of the answers change each way by chance and one family gains "
            f"{100 * APART:.0f} points more or less than another."
        )

    @property
    def base_name(self) -> str:
        """The base for people: its name without a path of this machine; "" for one of this run."""
        if isinstance(self.base, Model):
            return "" if Path(self.base.path).is_absolute() else self.base.path
        name = self.base
        return Path(name).name if Path(name).is_absolute() or name.startswith((".", "~")) else name
