"""Settings of Dromedary, by what they are for.

The one idea: a group is one stretch of the method, so that its name tells where a setting acts.
"""

from __future__ import annotations

from pydantic import Field

from woolgather.core.options import Options
from woolgather.engines.base import Sampling
from woolgather.ops.curate.instruction_rules import InstructionRules
from woolgather.ops.curate.pool import Pooling
from woolgather.ops.curate.response_rules import ResponseRules
from woolgather.ops.curate.rouge_l import NoveltyOptions
from woolgather.ops.principles.align import ReplyRules
from woolgather.ops.principles.files import Variant
from woolgather.recipes.settings import Common, Judging, Synthesis
from woolgather.training.job import LoraOptions, SftOptions


class Topics(Options):
    """v1: topics of each kind of question."""

    rounds: int = Field(default=5, ge=1)
    """Each round is shown some topics of those before."""
    calls: int = Field(default=1, ge=1)
    """Prompts for each kind in a round."""
    per_call: int = Field(default=10, ge=1)
    max_words: int = Field(default=3, ge=1)
    """Topics with more words are set aside."""
    sampling: Sampling = Sampling(temperature=1.0, max_tokens=96)
    template: str = "topics"
    """One of our templates, or the path of a .md file."""


class Questions(Options):
    """v1: questions on (kind, topic)."""

    n: int = Field(default=4_000, ge=0)
    """Accepted questions; 0 leaves them out."""
    sampling: Sampling = Sampling(temperature=1.0, top_p=0.95, max_tokens=96)
    rules: InstructionRules = InstructionRules()
    novelty: NoveltyOptions = NoveltyOptions()
    template: str = "questions"
    """One of our templates, or the path of a .md file."""


class Aligning(Options):
    """Answering under the principles."""

    template: str = "align"
    """Who the assistant is: one of our templates, or the path of a .md file."""
    block: str = "align-block"
    """How a worked question is laid out: one of our templates, or the path of a .md file."""
    exemplars: int | None = Field(default=None, ge=0)
    """Exemplars shown, the first of the file; None shows all. Fewer make a shorter prompt."""
    sampling: Sampling = Sampling(temperature=0.7, max_tokens=512)
    nudge: bool = True
    """A reply with a thought and no answer is given the answer's label and asked to go on."""
    rules: ReplyRules = ReplyRules()


class Identity(Options):
    """Rows that say who the assistant is."""

    file: str = ""
    """File of questions and answers in which {{name}} is filled in; empty takes ours (12), where
    `name` is given."""
    repeats: int = Field(default=1, ge=0)
    """Times each is in the training rows; 0 leaves them out."""


class Verbose(Options):
    """v1, stage 4: the engraved model answers at length, and the base is trained on that."""

    use: bool = True
    template: str = "verbose"
    """The teacher's system turn: one of our templates, or the path of a .md file."""
    sampling: Sampling = Sampling(
        temperature=0.3, top_p=0.7, max_tokens=512, repetition_penalty=1.1
    )
    rules: ResponseRules = ResponseRules()
    max_length: int = Field(default=768, ge=16)
    """Tokens in a row of this stage; all else is as in `sft`."""


class Adherence(Options):
    """Judging whether answers keep to the principles."""

    sample: int = Field(default=40, ge=0)
    """Held-out tasks that base, prompted teacher and students answer for it; 0 leaves it out."""
    rubric: str = "adherence-rubric"
    """One of our templates, or the path of a .md file; for judges that score."""
    yes_no: str = "adherence-yes-no"
    """The same for judges whose Yes and No are compared."""


class Teacher(Options):
    """Measuring the base under its principles, among the controls."""

    probes: int | None = Field(default=None, ge=1)
    """Probes of each seed; None: as many as in `measure`. All its prompts hold the principles, so
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
    prompts: str = ""
    """v2: file or folder of prompts, in any format that seeds may have; responses are not used.
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
