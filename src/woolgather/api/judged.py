"""A judged benchmark for models as a user names them: all answers first, then the judge.

    OUT/<suite>/journal.sqlite                         every answer and reply, as it came
    OUT/<suite>/audition-<judge>-<12 hex>.jsonl        a row per order of a pair, with the judge's reply
    OUT/<suite>/<model>-<12 hex>/                      a model, as it is asked
        model_outputs.json or model_answer.jsonl       its answers, in the benchmark's own format
        verdicts-<judge>-<12 hex>.jsonl                a row per order or turn, with the judge's reply

The one idea: the journal remembers every call by what was asked, so the same command asks only what is
missing, and a judge that fails costs no answer.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

from woolgather.api.named_models import NamedModel, resolve_models
from woolgather.api.progress.show import PLAIN_EVERY
from woolgather.api.suites import name_models
from woolgather.core.artifacts import Model, PromptFormat
from woolgather.core.errors import ConfigError, RunDirError
from woolgather.core.fingerprint import fingerprint
from woolgather.core.rows import JSON, Example
from woolgather.core.views import View
from woolgather.engines import open_engine
from woolgather.engines.base import Engine, EngineOptions
from woolgather.engines.journal import Calls, Journal, JournaledEngine
from woolgather.judged.answers import (
    TOKENS,
    BenchmarkAnswer,
    answer_questions,
    write_answers,
    write_lines,
)
from woolgather.judged.audition import PAIRS, hear_comparing, hire_to_compare, hire_to_grade
from woolgather.judged.compare import TEMPLATE, compare_answers
from woolgather.judged.grade import grade_answers
from woolgather.judged.judge import GRADING
from woolgather.judged.length_controlled import measure_length_controlled
from woolgather.judged.questions import BENCHMARKS, Benchmark, read_questions
from woolgather.judged.table import Judged, JudgeReport, make_views, to_json
from woolgather.prompting.forms import forms_of, is_text

ROLE = "win_judge"
Tell = Callable[[str], None]


@dataclass(frozen=True)
class JudgedOptions:
    """How a judged benchmark is asked."""

    out: Path
    data_dir: Path | None = None
    limit: int | None = None
    """The first so many questions; None for all."""
    win_judge: str = ""
    """The judge where no server is named for the role win_judge; empty for none."""
    form: str = "auto"
    """auto: in turns where the model has a chat template, else in blocks of text; or a form."""
    max_tokens: int = TOKENS


@dataclass(frozen=True)
class JudgedResult:
    """What models came to on a judged benchmark."""

    benchmark: Benchmark
    judged: Sequence[Judged]
    judge: JudgeReport | None

    def views(self) -> list[View]:
        """Returns the tables, and notes on how to read them."""
        return make_views(self.benchmark, self.judged, self.judge)

    def json(self) -> dict[str, JSON]:
        """Returns the same as plain data."""
        return to_json(self.benchmark, self.judged, self.judge)


def evaluate_judged(
    names: Sequence[str], suite: str, options: EngineOptions, asked: JudgedOptions, *, tell: Tell
) -> JudgedResult:
    """Returns what the models that `names` stand for answered, and what the judge said of it, where one
    is named.

    Raises ConfigError for a mistake in the options and for a judge that would judge itself, InputError
    for questions or models that are not there, YieldError for a judge that fails its audition; the
    answers are written by then.
    """
    from woolgather.engines.replicas.cluster import connect_ray

    benchmark = BENCHMARKS[suite]
    questions = read_questions(benchmark, asked.data_dir, asked.limit)
    models, judge = _resolve(names, options, asked)
    folder = asked.out / suite
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with (
            FileLock(folder / "lock", timeout=0),
            connect_ray(options),
            _Bench(benchmark, folder, tell) as bench,
        ):
            answered = []
            for named in models:
                with bench.ask(named) as engine:
                    answers = answer_questions(questions, engine, asked.max_tokens)
                answered.append(bench.write(named, answers))
            if judge is None:
                return JudgedResult(benchmark, answered, None)
            report, judged = bench.judge(models, answered, judge)
            return JudgedResult(benchmark, judged, report)
    except Timeout:
        raise RunDirError(
            f"{folder} is in use by another `woolgather eval`. Wait for it, or name another --out."
        ) from None


class _Bench:
    """The folder of a benchmark, and its journal. Use as a context manager."""

    def __init__(self, benchmark: Benchmark, folder: Path, tell: Tell) -> None:
        self._benchmark, self._folder, self._tell = benchmark, folder, tell

    def __enter__(self) -> _Bench:
        self._journal = Journal(self._folder / "journal.sqlite")
        return self

    def __exit__(self, *exc: object) -> None:
        self._journal.close()

    @contextmanager
    def ask(self, named: NamedModel) -> Iterator[Engine]:
        """Yields an engine that remembers, and opens the model at the first question that is new."""
        with _opening(named) as open_it:
            engine = self._remember(named, open_it, named.name)
            yield engine
            self._tell(_spell(named.name, engine.calls))

    def _remember(
        self, named: NamedModel, open_it: Callable[[], Engine], doing: str
    ) -> JournaledEngine:
        """Returns an engine that remembers, and tells now and then how far it is in what it is doing."""
        last = time.monotonic()

        def told(calls: Calls) -> None:
            nonlocal last
            if time.monotonic() - last > PLAIN_EVERY:
                last = time.monotonic()
                self._tell(_spell(doing, calls))

        return JournaledEngine(named.model, self._journal, open_it, told)

    def write(self, named: NamedModel, answers: Sequence[BenchmarkAnswer]) -> Judged:
        """Writes what the model answered."""
        path = write_answers(answers, self._benchmark, self._home(named), named.name)
        in_turns = not is_text(named.model.prompt_format)
        return Judged(named.name, str(path), answers, in_turns=in_turns)

    def judge(
        self, models: Sequence[NamedModel], answered: Sequence[Judged], judge: NamedModel
    ) -> tuple[JudgeReport, list[Judged]]:
        """Auditions the judge, asks it, and writes its verdicts beside the answers."""
        from woolgather.data import builtin_seeds, read_examples

        seeds = [row for row in read_examples(builtin_seeds()) if isinstance(row, Example)]
        with _opening(judge) as open_it:
            # A counter of its own for the audition and for each model: identical questions of two of
            # them are then one call.
            why = self._hire(judge, open_it, seeds)
            self._tell(f"audition: {why}")
            judged = [
                self._judge_one(named, each, judge, open_it)
                for named, each in zip(models, answered, strict=True)
            ]
        return JudgeReport(judge.name, why), judged

    def _hire(
        self, judge: NamedModel, open_it: Callable[[], Engine], seeds: Sequence[Example]
    ) -> str:
        """Returns how the audition went. Raises YieldError where the judge failed it."""
        doing = f"{judge.name} in its audition ({2 * PAIRS} calls)"
        engine = self._remember(judge, open_it, doing)
        if not self._benchmark.compared:
            return hire_to_grade(engine, judge.name, seeds)
        heard = hear_comparing(engine, seeds)
        place = self._folder / f"audition-{_slug(judge.name)}-{self._judge_print(judge)}.jsonl"
        write_lines(heard.rows(judge.name), place)
        self._tell(f"{_spell(doing, engine.calls)}: {place}")
        return hire_to_compare(heard, judge.name)

    def _judge_one(
        self,
        named: NamedModel,
        answered: Judged,
        judge: NamedModel,
        open_it: Callable[[], Engine],
    ) -> Judged:
        doing = f"{judge.name} on {named.name}"
        engine = self._remember(judge, open_it, doing)
        place = self._home(named) / f"verdicts-{_slug(judge.name)}-{self._judge_print(judge)}.jsonl"
        if self._benchmark.compared:
            comparisons = compare_answers(answered.answers, engine)
            rows = (row for each in comparisons for row in each.rows(named.name, judge.name))
            controlled = measure_length_controlled(comparisons, named.name)
            made = replace(answered, comparisons=comparisons, length_controlled=controlled)
        else:
            grades = grade_answers(answered.answers, engine)
            rows = (row for each in grades for row in each.rows(named.name, judge.name))
            made = replace(answered, grades=grades)
        write_lines(rows, place)
        self._tell(f"{_spell(doing, engine.calls)}: {place}")
        return made

    def _home(self, named: NamedModel) -> Path:
        """The folder of a model as it is asked."""
        short = fingerprint([named.model.fingerprint, named.model.prompt_format])[:12]
        known = self._folder.glob(f"*-{short}")  # perhaps under another name
        return next(known, self._folder / f"{_slug(named.name)}-{short}")

    def _judge_print(self, judge: NamedModel) -> str:
        asked = TEMPLATE if self._benchmark.compared else GRADING.rubrics[0].template
        return fingerprint([judge.model.fingerprint, judge.model.prompt_format, asked.text])[:12]


@contextmanager
def _opening(named: NamedModel) -> Iterator[Callable[[], Engine]]:
    """Yields what opens the model when it is first called; it is closed at the end."""
    with ExitStack() as stack:

        @cache
        def open_it() -> Engine:
            engine = open_engine(named.model, named.options)
            stack.callback(engine.close)
            return engine

        yield open_it


def _spell(name: str, calls: Calls) -> str:
    return f"{name}: {calls.requests} asked, {calls.remembered} of them remembered"


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")[-60:] or "model"


# Who is asked


def _resolve(
    names: Sequence[str], options: EngineOptions, asked: JudgedOptions
) -> tuple[list[NamedModel], NamedModel | None]:
    """Returns the models, and the judge where one is named."""
    several = len(names) > 1
    called = dict(pair for name in names for pair in name_models(name, options, several=several))
    served = _served_judge(options)
    if served and asked.win_judge:
        raise ConfigError("--win-judge and --serve win_judge=... name two judges. Leave one out.")
    judge = ROLE if served else asked.win_judge
    places = [*called.values(), *([judge] if judge else [])]
    found = [
        replace(each, model=_in_form(each.model, asked.form))
        for each in resolve_models(places, options, asked.form)
    ]
    models = [replace(n, name=c) for n, c in zip(found, called, strict=False)]
    if not judge:
        return models, None
    rater = found[-1]
    if served:
        model = replace(rater.model, path=served, fingerprint=f"served:{served}")
        rater = NamedModel(served, model, rater.options)
    for each in models:
        if _is_same(each, rater):
            raise ConfigError(
                f"win_judge {rater.name} is {each.name}, which it would judge, and a judge prefers its "
                "own answers. Name another model as the judge."
            )
    return models, rater


def _served_judge(options: EngineOptions) -> str:
    """What the server calls the judge; empty where none is named. Raises ConfigError without its name."""
    from woolgather.engines.openai.serving import read_options

    serving = read_options(options.name, options.urls, options.serve)
    found = [endpoint for key, endpoint in serving.serve if key == ROLE]
    for endpoint in found:
        if not endpoint.name:
            raise ConfigError(
                f"--serve {ROLE}={endpoint}: verdicts are kept under the judge's name. Write URL#NAME."
            )
    return found[0].name if found else ""


def _in_form(model: Model, wanted: str) -> Model:
    """Returns the model as it is asked: where that is left open, in turns if it has a chat template."""
    if wanted != "auto":
        return model
    has_turns = "chat" in forms_of(model.path, model.chat_template)
    form: PromptFormat = "chat" if has_turns else "blocks"
    return replace(model, prompt_format=form)


def _is_same(one: NamedModel, other: NamedModel) -> bool:
    at_one_place = set(one.options.urls) & set(other.options.urls)
    return bool(at_one_place) or one.model.fingerprint == other.model.fingerprint
