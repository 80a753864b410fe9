"""Settings of Dromedary, by what they are for.

The one idea: a group is one stretch of the method, so that its name tells where a setting acts.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from woolgather.core.options import Options
from woolgather.engines.base import Sampling
from woolgather.ops.curate.mix import Replaying
from woolgather.ops.curate.pool import Pooling
from woolgather.ops.curate.response_rules import ResponseRules
from woolgather.ops.generate.synthesize import Synthesis
from woolgather.ops.generate.topics import Questions, Topics
from woolgather.ops.principles.adherence import Adherence
from woolgather.ops.principles.align import Aligning
from woolgather.ops.principles.files import Variant
from woolgather.ops.principles.identity import Identity
from woolgather.prompting.templates import Template, load, takes
from woolgather.recipes.settings import Common, Judging
from woolgather.training.job import LoraOptions, SftOptions


class Verbose(Options):
    """v1, stage 4: the engraved model answers at length, and the base is trained on that."""

    use: bool = True
    template: Annotated[Template, takes()] = load("verbose")
    """The teacher's system turn: one of our templates, or the path of a .md file, without fields."""
    sampling: Sampling = Sampling(
        temperature=0.3, top_p=0.7, max_tokens=512, repetition_penalty=1.1
    )
    rules: ResponseRules = ResponseRules()
    max_length: int = Field(default=768, ge=16)
    """Tokens in a row of this stage; all else is as in `sft`."""


class Teacher(Options):
    """Measuring the base under its principles, among the controls."""

    probes: int | None = Field(default=None, ge=1)
    """Probes; None: as many as report in `measure`. All its prompts hold the principles, so
    that a measure of the teacher costs more than all others."""


class Config(Common):
    """Settings of Dromedary."""

    variant: Variant = "v2"
    """v1: the model writes its prompts, and a verbose stage follows; v2: prompts are given."""
    name: str = ""
    """What the assistant is called; empty: it has no name, and no identity rows of ours are used."""
    principles: str = ""
    """File of principles, `- name: text` items; empty takes ours of the variant (16 or 17)."""
    exemplars: str = ""
    """File of worked questions, JSON lines; empty takes ours of the variant (5 or 6)."""
    kinds: str = ""
    """v1: file of kinds of question, `- name: text` items; empty takes ours (20)."""
    prompts: str | tuple[str, ...] = ""
    """v2: prompts, in any format and place that seeds may have; responses are not used.
    Empty takes the instructions of the seeds."""
    tasks: int = Field(default=10_000, ge=0)
    """v1: accepted tasks of plain self-instruct; 0 leaves them out."""
    synthesis: Synthesis = Synthesis()
    topics: Topics = Topics()
    questions: Questions = Questions()
    pool: Pooling = Pooling()
    align: Aligning = Aligning()
    rules: ResponseRules = ResponseRules()
    identity: Identity = Identity()
    mix: Replaying = Replaying()
    sft: SftOptions = SftOptions(
        lora=LoraOptions(r=64, alpha=16),
        learning_rate=1e-4,
        epochs=1,
        batch_size=128,
        warmup_updates=0.03,
        validation=0.05,
    )
    lora_scale: float = Field(default=1.0, ge=0)
    """How much of each trained adapter is merged: 0 is the base, 1 all of it."""
    verbose: Verbose = Verbose()
    judge_model: str = "base"
    """base: the base judges adherence; else the name of another model."""
    judge: Judging = Judging(candidates=("rubric", "expected", "yes_no"))
    adherence: Adherence = Adherence()
    teacher: Teacher = Teacher()
    patience: int | None = Field(default=None, ge=1)
    """v1: 1 leaves out the verbose stage when the engraved model is no better than the base; None
    never does."""
