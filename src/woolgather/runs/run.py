"""A step is a remembered call; a run is a directory of them.

`scope.step(name, op, *args)` binds the arguments, hashes their canonical form and looks for
`<name>-<12 hex>/record.json`. There: the artifact is loaded. Not there: the op is called, what comes
out is written, and the record is written last. That is all there is to resume, caching, lineage and
`plan`. What a step *is* (fingerprint.py, call.py), whether it is there (lookup.py), how it is
done (execute.py) and where (folder.py) are rooms of their own; how a model is asked (engines)
and trained (training) is handed in; nothing here knows a recipe.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from woolgather.core.artifacts import Artifact, Dataset, Model
from woolgather.core.errors import ConfigError, DiskError, EngineError, disk_error
from woolgather.core.expected import Expected
from woolgather.core.machine_speed import Precision
from woolgather.core.op import as_op
from woolgather.data import Part, Source
from woolgather.data.documents import Texts
from woolgather.engines.base import Engine
from woolgather.runs import inputs, lookup
from woolgather.runs.call import (
    Call,
    EngineHandle,
    Pinned,
    StepChoices,
    Surroundings,
    artifacts_in,
    call_of,
    placeholder,
    put_off,
)
from woolgather.runs.claims import claim
from woolgather.runs.execute import Backends as Backends  # part of what makes a Run
from woolgather.runs.execute import Tools, errors_of, execute, put_given
from woolgather.runs.folder import AskedRecipe, RunFolder
from woolgather.runs.lookup import Planned
from woolgather.runs.models import RunModels
from woolgather.runs.open_engines import OpenEngines
from woolgather.runs.progress import Progress
from woolgather.runs.record import RECORD, StepRecord, StepState
from woolgather.runs.results import load
from woolgather.runs.run_scope import RunScope
from woolgather.runs.speed.rates import explain_precision
from woolgather.training.job import Trainer, TrainingOptions


class Run:
    """The root scope. Use as a context manager; `plan=True` walks without writing.

    Raises RunDirError when the directory belongs to another recipe, is of a newer format, or is in
    use by another process; ConfigError for servers that are named wrongly.
    """

    def __init__(
        self,
        folder: Path,
        recipe: AskedRecipe,
        backends: Backends,
        choices: StepChoices | None = None,
        *,
        plan: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self.choices = choices or StepChoices()
        self._folder = RunFolder(folder, self.choices.shared, self.choices.own_journal)
        self.dir = self._folder.path
        self.recipe = recipe
        self.plan = plan
        self.planned: list[Planned] = []
        """In a plan, each step in order; complete when it has been left."""
        self.progress = progress or Progress()
        self._backends = backends
        self._options = backends.engine
        self._index: dict[str, tuple[str, str]] = {}
        self._names: set[str] = set()
        self._models = RunModels(self._options)
        self._engines = OpenEngines(self.dir, backends, self._models, self.progress)
        self._doing = ""
        self._walked: list[lookup.Walked] = []
        self._looked_at: set[str] = set()
        """Fingerprints of results that a plan's recipe looked at."""
        self._errors: dict[str, Sequence[str]] = {}
        self._given: dict[str, inputs.GivenRows] = {}
        self._told_precision = False

    def __enter__(self) -> Run:
        try:
            self._folder.look(self.recipe.name)
            self._models.past = self._folder.past
            self._options = dataclasses.replace(self._options, date=self._folder.date)
            if self.plan:
                self._folder.borrow_inputs()
            else:
                with contextlib.suppress(ConfigError, EngineError):  # said where something trains
                    self.training_precision()
                self._folder.own(self.recipe, self.choices.replicate)
            tell, keep = self.progress.note, not self.plan
            self._inputs = inputs.InputStore(self._folder.inputs, tell, keep=keep)
            return self
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        full = disk_error(error, self.dir, self._doing)
        try:
            if self.plan and error is None:
                self._complete_plan()
            self.close_engines()
            self._folder.finish(kind, str(full or error or ""))
        except OSError as later:
            if error is None:
                error, full = later, disk_error(later, self.dir)
            if full is None and not isinstance(error, DiskError):
                raise
        finally:
            self._folder.close()
        if full is not None:
            raise full from error

    # -- what a recipe uses ---------------------------------------------------------------------

    def step(self, name: str, op: Callable[..., object], *args: object, **kwargs: object) -> Any:
        """Returns what the op makes of the arguments, or made of them before; in a plan what stands
        for it. Raises ValueError for a name that is taken, and whatever the op raises."""
        return self._step(name, op, args, kwargs)

    def scope(self, name: str) -> RunScope:
        """Returns a part of this run whose steps are called `name/...`."""
        return RunScope(self, f"{name}/")

    def model(self, name: str, source: str | Model, *, chat_template: str = "") -> Model:
        """Returns a model from outside, known by its content; `name` stands for it in messages, and
        `chat_template` replaces its own. Raises InputError when it cannot be opened."""
        opened = self._models.open(name, source)
        found = self._models.bring(name, source, opened, chat_template)
        if not isinstance(source, Model):
            self._index.setdefault(found.fingerprint, (name, found.fingerprint))
        return found

    def rows(
        self,
        name: str,
        source: Source | Dataset,
        *,
        needs_response: bool = True,
        part: Part = "seeds",
    ) -> Dataset:
        """Returns rows from outside as a Dataset of this run, and tells what was left out of them.
        Raises InputError for what cannot be read, or has no rows."""
        place = name.replace("/", "-")
        found = inputs.open_dataset(
            source, self._inputs, place, needs_response=needs_response, part=part
        )
        if not isinstance(source, Dataset):
            self._index.setdefault(found.fingerprint, (name, found.fingerprint))
        return found

    def sample(self, setting: str, source: Source, n: int) -> Dataset:
        """Returns at most `n` rows from outside, the same ones in every run, and tells of how many they
        were drawn; `setting` is where the source was given. Raises InputError for what cannot be read,
        has no rows, or is not on this machine."""
        found = inputs.open_sample(source, self._inputs, setting, n)
        self._index.setdefault(found.fingerprint, (setting, found.fingerprint))
        return found

    def texts(
        self,
        source: Source,
        *,
        column: str | tuple[str, ...] = "text",
        split: str = "train",
        subset: str = "",
    ) -> Texts:
        """Returns texts from outside, which stay where they are. Raises InputError when there are
        none."""
        return inputs.open_texts(source, self._inputs, column=column, split=split, subset=subset)

    def given(self, name: str) -> bool:
        """Returns whether this step's result was handed in (--given)."""
        return name in self.choices.given

    def engine(self, model: Model) -> Engine:
        """Returns what stands for `model` among a step's arguments; nothing is loaded before a step
        asks it."""
        return cast(Engine, EngineHandle(model, self._options))

    def trainer(self) -> Trainer:
        """Returns what trains in this run."""
        return self._backends.trainer

    def training_precision(self) -> Precision | None:
        """Returns what `precision: auto` is in this run: what it became at the first launch, on whatever
        machine that was. None in the plan of a run that is not there on a machine that was not
        measured. Raises ConfigError or EngineError where it has to be measured and torch is not
        there."""
        found = self._folder.precision or self._backends.trainer.precision(measure=not self.plan)
        dry = self._backends.trainer.__canonical__() is not None  # says nothing of this machine
        if found and not dry and self._folder.precision is None:
            self._folder.pin(found)
        return found

    def check_servers(self) -> None:
        """Raises ConfigError, after a plan, unless there is a server for each model that is asked."""
        self._models.check()

    def close_engines(self, keep: Model | None = None) -> None:
        """Close the open engines, but for the one of `keep`, and free what they hold."""
        self._engines.close(keep)

    # -- one step -------------------------------------------------------------------------------

    def _step(
        self,
        name: str,
        op: Callable[..., object],
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
    ) -> Artifact:
        if name in self._names:
            raise ValueError(f"step {name!r} is named twice in one recipe")
        self._names.add(name)
        self._doing = name
        date = Pinned(self._options.date)
        around = Surroundings(self.dir, self.choices.replicate, date, self.training_precision)
        call = call_of(name, as_op(op), args, kwargs, around)
        call = lookup.standing(self.dir, call)
        if name in self.choices.given:
            return self._take_given(call)
        if self.choices.shared and name not in self.choices.redo:
            call = lookup.take_shared(self.dir, call, self.choices.shared, plan=self.plan)
        self._models.make(call)
        if self.plan:
            return self._plan_step(call)
        if name in self.choices.spare:
            self.progress.note(f"{name}: not needed")
            return put_off(call, functools.cache(lambda: self._do(call)))
        return self._do(call)

    def _do(self, call: Call) -> Artifact:
        """The step's result, made if it is not there, and no other run beside this one makes it."""
        self._doing = call.name
        self._note_texts(call)
        shared = self.choices.shared
        if shared is None or call.name in self.choices.redo or self._look_up(call)[0]:
            return self._remember_or_make(call)
        # What it needs of steps that were put off is made before: to wait for those it holds nothing.
        call = call.settled()
        waiting = f"{call.name}: waiting for another run, which makes it"
        step = call.folder.relative_to(self.dir)
        with claim(shared, step, lambda: self.progress.note(waiting)):
            call = lookup.take_shared(self.dir, call, shared)
            if not (call.folder / RECORD).is_file():
                lookup.take_attempts(self.dir, call, shared)
            return self._remember_or_make(call)

    def _remember_or_make(self, call: Call) -> Artifact:
        name = self._doing = call.name
        record, why = self._look_up(call)
        self._models.ask(call, anew=record is None)
        if record is not None:
            if record.source != call.op.source:
                self.progress.note(
                    f"{name}: remembered from an older version of its code; "
                    f"to do it again: --redo {name}"
                )
            return self._enter(call, record, "remembered", "")
        call = call.settled()
        inputs.check_needs(call, self._given)
        self._doing = name
        self._folder.note()
        self.progress.step_started(name, why, call.expected)
        if call.bound.keys() & {"trainer", "exam"}:  # another process needs the memory
            self.close_engines()
        if "trainer" in call.bound:
            self._tell_precision(call)
        record = execute(call, self._index, self._tools())
        made = self._enter(call, record, "ran", why)
        self.progress.step_finished(name, record)
        return made

    def _plan_step(self, call: Call) -> Artifact:
        """What stands for the step's result in a plan, which notes whether the recipe looks at it."""
        self._note_texts(call)
        record, why = self._look_up(call)
        self._walked.append(lookup.Walked(call, record is None))
        expected = call.settled().expected
        made: Artifact
        if record is None:
            self._index[call.identity] = (call.name, "")
            line = Planned(call.name, "new", why, expected, fingerprint=call.identity)
            made = placeholder(call.kind, call.identity, expected, call.settled().bound)
        else:
            self._index[call.identity] = (call.name, record.digest)
            line = Planned(call.name, "remembered", why, expected, record.seconds, call.identity)
            made = load(record, call.folder)
        self.planned.append(line)
        return put_off(call, lambda: made, lambda: self._looked_at.add(call.identity))

    def _complete_plan(self) -> None:
        """Every step is known now, and so which of them are needed. Raises ConfigError for steps that
        are asked for and are not there, and for a server that could not have the model it is asked
        for; InputError for given rows that lack what a step needs."""
        lookup.check_names(self.choices, self._names)
        spare = lookup.spare_steps(self._walked, self._looked_at, self.choices.redo)
        for step in self._walked:
            if not step.given:
                anew = step.anew and step.call.name not in spare
                self._models.ask(step.call, anew=anew)
                if anew:
                    inputs.check_needs(step.call.settled(), self._given)
        self.planned = [line.spared() if line.step in spare else line for line in self.planned]

    def _look_up(self, call: Call) -> tuple[StepRecord | None, str]:
        if call.name in self.choices.redo:
            return None, "asked for with --redo"
        return lookup.look_up(self.dir, call, self._index, self._models, plan=self.plan)

    def _tools(self) -> Tools:
        """Addresses may hold secrets: what a record says of servers is what they answered."""
        folder, found = self._folder, dataclasses.asdict(self._options)
        options = {k: v for k, v in found.items() if v and k not in ("urls", "serve", "ray")}
        return Tools(
            folder.journal, self._open_engine, self.progress, folder.launch, options, self._models,
            self._errors,
        )  # fmt: skip

    def _note_texts(self, call: Call) -> None:
        """Texts become known to the run with the first step that reads them (see open.py)."""
        for found in artifacts_in(call.bound):
            if isinstance(found, Texts) and found.fingerprint not in self._index:
                self._index[found.fingerprint] = ("texts", found.fingerprint)
                if not self.plan:
                    inputs.note_texts(found, self._inputs.folder, "texts")

    def _take_given(self, call: Call) -> Artifact:
        """`--given STEP=PATH`: foreign rows or a model stand for the step's result."""
        name, source = call.name, self.choices.given[call.name]
        made = inputs.open_given(call, source, self._inputs)
        if isinstance(made, Model):
            made = self._models.bring(name, source, made)
        else:
            self._given[made.fingerprint] = inputs.GivenRows(name, source, made)
        self.progress.note(f"{name}: given, {source}")
        self._index[made.fingerprint] = (name, made.fingerprint)
        if self.plan:
            self._walked.append(lookup.Walked(call, given=True))
            self.planned.append(Planned(name, "given", source, Expected()))
            return made
        call = call.known_as(made.fingerprint, self.dir)
        record = put_given(call, made, source, self._folder.launch)
        return self._enter(call, record, "given", source)

    def _tell_precision(self, call: Call) -> None:
        """A run that goes on elsewhere trains as it began; said once, with what that costs."""
        began = self._folder.precision
        used = {v.precision for v in call.bound.values() if isinstance(v, TrainingOptions)}
        if self._told_precision or began not in used:
            return
        self._told_precision = True
        here = self._backends.trainer.precision()
        if began and here and here != began:
            self.progress.note(f"{call.name}: {explain_precision(began, here)}")

    def _open_engine(self, model: Model) -> Engine:
        return self._engines.open(model, self._options)

    def _enter(self, call: Call, record: StepRecord, state: StepState, why: str) -> Artifact:
        """The step is done, now or before: its result, as later steps take it."""
        self._index[call.identity] = (call.name, record.digest)
        if state == "remembered":
            self.progress.step_remembered(call.name, record)
        self._errors[call.name] = errors_of(record)
        self._folder.enter(call.name, call.identity, call.folder, state, why)
        return load(record, call.folder)
