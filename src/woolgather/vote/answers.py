"""What the models of a run answer: remembered from when they were measured, else asked as then.

The one idea: a measure is asked once more, in the words it was asked in, and the run's journal answers.
Only what it does not hold (its file is gone, or more probes are wanted) is asked of the model itself,
and then kept beside the votes: the journal of a run belongs to the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from woolgather.core.artifacts import Model, PromptFormat
from woolgather.core.errors import InputError
from woolgather.core.fingerprint import seed_of
from woolgather.core.rows import JSON, Example, as_mapping
from woolgather.core.storage import read_rows
from woolgather.engines import check_engine, open_engine
from woolgather.engines.base import Completion, Engine, EngineOptions, Sampling
from woolgather.engines.journal import Calls, Journal, JournaledEngine
from woolgather.engines.openai.serving import Asked, assign, read_options
from woolgather.models.open import open_model
from woolgather.ops.measure.evaluate import EvaluationOptions, evaluate
from woolgather.ops.measure.probe_sets import probe_sets
from woolgather.ops.text.ask import ask_rows, no_reply
from woolgather.ops.text.item_ids import item_ids
from woolgather.probes import task_of
from woolgather.prompting.forms import FORMS
from woolgather.prompting.template_choice import load_chat_template
from woolgather.prompting.turns import answer_prompt, stops
from woolgather.report.votes.ballot import VOTES
from woolgather.runs.record import (
    INPUTS,
    StepEntry,
    StepRecord,
    read_launches,
    read_run,
    split_name,
)
from woolgather.runs.results import load

JOURNAL = "journal.sqlite"
Steps = Sequence[tuple[StepEntry, StepRecord]]


@dataclass(frozen=True)
class MeasuredItem:
    """A task or a probe that a model was measured on."""

    name: str
    """Its id in the outcomes of the measure."""
    task: Example
    index: int
    """Its place among all that the measure asked, which its random seed follows from."""


def measured_models(steps: Steps) -> dict[str, StepRecord]:
    """Returns the measures of a run by the name of their model: "base", "iter0", "control/random-rows",
    and "result" for the model that was chosen. Measures of an older version are left out."""
    found = {
        _name_of(record.step): record
        for _, record in steps
        if record.op == evaluate.name and record.op_version == evaluate.version
    }
    if chosen := _find_chosen(steps, found):
        found["result"] = chosen
    return found


def _name_of(step: str) -> str:
    """The model of a measure: "measure" is of the base, "x/measure" of x, "x-measure" of x."""
    return step.removesuffix("measure").rstrip("-/") or "base"


def _find_chosen(steps: Steps, measures: Mapping[str, StepRecord]) -> StepRecord | None:
    by_print = {record.fingerprint: record for record in measures.values()}
    for _, record in steps:
        if record.op == "select_model" and not split_name(record.step)[0]:
            given = record.payload["args"]["measures"]
            return by_print.get(given[int(record.result["value"])]["artifact"])
    return None


def held_out_items(measure: StepRecord, run_dir: Path, steps: Steps) -> list[MeasuredItem]:
    """Returns the held-out tasks of a measure. Raises InputError where the run no longer has them."""
    tasks = _rows_of(measure, "tasks", run_dir, steps)
    first = sum(map(len, probe_sets(*_probes_asked(measure)).values()))
    names = item_ids(tasks)
    return [
        MeasuredItem(name, task, first + i)
        for i, (name, task) in enumerate(zip(names, tasks, strict=True))
    ]


def probe_items(measure: StepRecord) -> list[MeasuredItem]:
    """Returns the probes of a measure that report, a balanced sample of their families first."""
    sets = probe_sets(*_probes_asked(measure))
    first = 0
    for purpose, probes in sets.items():
        if purpose == "report":
            return [MeasuredItem(p.id, task_of(p), first + i) for i, p in enumerate(probes)]
        first += len(probes)
    return []


def _probes_asked(measure: StepRecord) -> tuple[int, int, JSON, JSON]:
    how = _how(measure)
    return how.probes, how.probe_seed, how.tier, measure.payload["args"]["purposes"]


def _how(measure: StepRecord) -> EvaluationOptions:
    return EvaluationOptions.model_validate(measure.payload["args"]["how"])


def _rows_of(measure: StepRecord, argument: str, run_dir: Path, steps: Steps) -> list[Example]:
    """The rows in use of an argument of the measure: those of a step, or from outside."""
    given = measure.payload["args"][argument]
    if given == []:
        return []
    known = str(given["artifact"]) if isinstance(given, dict) else ""
    places = [run_dir / e["path"] for e, r in steps if r.fingerprint == known]
    places += sorted((run_dir / INPUTS).glob(f"*-{known[:12]}"))
    if not known or not places:
        raise InputError(
            f"{run_dir} no longer has the rows that {measure.step} was asked ({argument}); give the same "
            "`woolgather run` command again, which puts them back."
        )
    rows = (row for row in read_rows(places[0]) if row.set_aside is None)
    return [row for row in rows if isinstance(row, Example)]


class Answerer:
    """Asks the measured models of a run. Use as a context manager, which closes what it opened."""

    def __init__(
        self,
        run_dir: Path,
        steps: Steps,
        models: tuple[str, str],
        options: EngineOptions,
        tell: Callable[[str, Calls], None] = lambda name, calls: None,
    ) -> None:
        self._run_dir, self._steps = run_dir, steps
        self._models, self._options, self._tell = models, options, tell
        self._stack = ExitStack()

    def __enter__(self) -> Answerer:
        folder = self._run_dir / VOTES
        folder.mkdir(exist_ok=True)
        self._journal = _BesideRun(folder / JOURNAL, self._run_dir / JOURNAL)
        self._stack.callback(self._journal.close)
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def ask(
        self, name: str, measure: StepRecord, items: Sequence[MeasuredItem]
    ) -> dict[str, Completion]:
        """Returns the answers of the model that is called `name`, by item; those that gave none are left
        out. Raises what opening and asking the model raise."""
        shown = _rows_of(measure, "shots", self._run_dir, self._steps)
        model, seed = self._stand_in(measure), int(measure.payload["args"]["seed"])
        form = model.prompt_format
        sampling = Sampling(
            temperature=0.0, max_tokens=_how(measure).max_tokens, stop=stops(form, shown)
        )
        with ExitStack() as opened:

            def open_it() -> Engine:
                model = self._find(name, measure)
                engine = open_engine(model, self._options_for(name, model, measure))
                opened.callback(engine.close)
                return engine

            engine = JournaledEngine(
                model, self._journal, cache(open_it), lambda calls: self._tell(name, calls)
            )
            found = ask_rows(
                items,
                engine,
                lambda item: answer_prompt(item.task, form, shown),
                sampling,
                lambda item: seed_of(seed, item.index),
            )
            return {item.name: answer for item, answer, _ in found if not no_reply(answer)}

    def _stand_in(self, measure: StepRecord) -> Model:
        """The measured model as the journal knows it: by fingerprint and form, whatever it lies in."""
        asked = measure.payload["args"]["engine"]
        form: PromptFormat = next((form for form in FORMS if form == asked["format"]), "chat")
        return Model(measure.step, asked["engine"], form)

    def _find(self, name: str, measure: StepRecord) -> Model:
        """The measured model itself: what a step made, or the base of the run. Raises InputError where
        it is gone, or is another one by now."""
        wanted = self._stand_in(measure)
        for entry, record in self._steps:
            if record.fingerprint == wanted.fingerprint and record.kind == "model":
                made = load(record, self._run_dir / entry["path"])
                assert isinstance(made, Model)
                return replace(made, prompt_format=wanted.prompt_format)
        base = self._base(measure)
        if base.fingerprint != wanted.fingerprint:
            raise InputError(
                f"{base.path} is not the model that {measure.step} asked, and the run's journal lacks "
                f"answers of {name}; put the old one back, or vote --between others."
            )
        return replace(base, prompt_format=wanted.prompt_format)

    def _options_for(self, name: str, model: Model, measure: StepRecord) -> EngineOptions:
        """How the model is asked: as it was measured where no engine is named, and at a server of its
        own where servers are asked. Raises ConfigError where none is named for it."""
        recorded = as_mapping(measure.execution.get("engine", {}))
        options = replace(self._options, name=self._options.name or str(recorded.get("name")))
        options = replace(options, date=str(read_run(self._run_dir).get("date", "")))
        check_engine(options)
        serving = read_options(options.name, options.urls, options.serve)
        if options.name != "openai":
            return options
        both = [Asked((each,), path=model.path, due=each == name) for each in self._models]
        found = assign(serving, both)[self._models.index(name)]
        return replace(options, urls=tuple(endpoint.text for endpoint in found), serve=())

    def _base(self, measure: StepRecord) -> Model:
        config = as_mapping(read_launches(self._run_dir)[-1].config)
        template = load_chat_template(str(config.get("chat_template", "auto"))).text
        variables = as_mapping(measure.execution.get("engine", {})).get("chat_template_kwargs", {})
        return open_model(config["base"]).with_template(template).with_variables(variables)


class _BesideRun(Journal):
    """A journal of our own that answers from the run's journal, too, and never writes there."""

    def __init__(self, path: Path, run: Path) -> None:
        super().__init__(path)
        self._run = Journal(run) if run.is_file() else None

    def get(self, key: bytes) -> JSON | None:
        found = super().get(key)
        return self._run.get(key) if found is None and self._run else found

    def close(self) -> None:
        super().close()
        if self._run:
            self._run.close()
