"""The file by which a launched worker is told its job: a `TrainJob`, and how to carry it out here.

The one idea: it is written once by the launcher and read once by the worker, as one model, so that both
agree on every field and neither looks keys up.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field, ValidationInfo, field_validator

from woolgather.core.artifacts import Model
from woolgather.core.storage import write_json
from woolgather.training.job import (
    DpoOptions,
    JobKind,
    JobOptions,
    MergeOptions,
    SftOptions,
    TrainJob,
)
from woolgather.training.layouts import Sharding

OPTIONS: dict[str, type[JobOptions]] = {
    options.kind: options for options in (SftOptions, DpoOptions, MergeOptions)
}
"""By kind of job."""


class Execution(BaseModel):
    """How a job is carried out; none of it changes what comes out."""

    cpu: bool = False
    """Train on the CPU although there is a GPU."""
    processes: int = 1
    """Devices to train on, those of all machines."""
    sharding: Sharding = "ddp"
    """Which of them hold what."""
    micro_batch_size: int = 0
    """Rows on a device at once; 0 leaves it to the job's own setting."""
    checkpoint_every: float = 2.0
    """Minutes between checkpoints; 0 saves one after every update."""
    recompute: bool = False
    """Recompute activations, where the job does not say whether to."""
    report_to: str = ""
    """Tracker that gets the curves as well; empty for none."""
    project: str = ""
    """What the tracker is to call all trainings of the run."""


class Weights(BaseModel):
    """Where a model is, and what is to be found there."""

    path: str
    digest: str = ""
    """sha256 of the directory's content; empty where it is not known."""
    chat_template_kwargs: dict[str, bool | int | float | str] = Field(default_factory=dict)
    """What the chat template is told, and is saved with."""
    chat_template: str = ""
    """The template that is saved instead of the model's own; empty for its own."""

    @classmethod
    def of(cls, model: Model) -> Weights:
        """Returns where the weights of an artifact are."""
        return cls(
            path=model.path,
            digest=model.digest,
            chat_template=model.chat_template,
            chat_template_kwargs=dict(model.chat_template_kwargs),
        )


class WorkerJob(BaseModel):
    """One job as the worker is told of it."""

    kind: JobKind
    options: JobOptions
    start: Weights
    reference: Weights | None = None
    """dpo: the frozen opponent."""
    data: Path = Path()
    """Directory of the rows; meaningless for a merge."""
    seed: int = 0
    out: Path
    """Directory for everything that the worker leaves."""
    digest: str
    """What two attempts must share for one to go on from the other's checkpoint."""
    execution: Execution = Execution()
    resume: str | None = None
    """A complete checkpoint to go on from."""

    @field_validator("options", mode="before")
    @classmethod
    def _read_options(cls, value: object, info: ValidationInfo) -> JobOptions:
        """By kind: the fields alone do not tell an `SftOptions` from a `DpoOptions`."""
        return OPTIONS[info.data["kind"]].model_validate(value)


def write_job(
    path: Path,
    job: TrainJob,
    *,
    digest: str,
    execution: Execution,
    resume: str | None = None,
) -> None:
    """Write the file for a job that is carried out in the directory of `path`."""
    told = WorkerJob(
        kind=job.kind,
        options=job.options,
        start=Weights.of(job.start),
        reference=Weights.of(job.reference) if job.reference else None,
        data=job.data.absolute() if job.data else Path(),
        seed=job.seed,
        out=path.parent,
        digest=digest,
        execution=execution,
        resume=resume,
    )
    write_json(path, told.model_dump(mode="json"))


def read_job(path: Path) -> WorkerJob:
    """The inverse of `write_job`. Raises pydantic's ValidationError for a file of another version."""
    return WorkerJob.model_validate_json(path.read_text(encoding="utf-8"))
