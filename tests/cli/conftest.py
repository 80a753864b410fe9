"""A small run that commands can look at: seeds, tasks, answers with verdicts, a model, measures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from woolgather.cli import app, main
from woolgather.core.artifacts import Choice, Metrics, Model
from woolgather.core.rows import Example, PreferencePair, Verdict, set_aside
from woolgather.core.views import table
from woolgather.engines.base import Engine, EngineOptions, Request, Sampling, ask
from woolgather.engines.fake import FAKE_MODEL, FakeEngine
from woolgather.runs.call import StepChoices
from woolgather.runs.folder import AskedRecipe
from woolgather.runs.run import Backends, Run
from woolgather.training.fake import FakeTrainer
from woolgather.training.job import TrainJob

HOSTILE = "\x1b]0;owned\x07\x1b[31mred\x1b[0m [bold]not bold[/] \u202egnirts :smile:"


def write(seeds: Iterable[Example], engine: Engine, *, n: int, seed: int = 0) -> Iterator[Example]:
    shown = list(seeds)[:2]
    requests = (Request(f"task {i}", Sampling(seed=seed + i)) for i in range(n))
    for completion in ask(engine, requests):
        yield Example(instruction=completion.text, parents=tuple(s.id for s in shown))


def answer(rows: Iterable[Example]) -> Iterator[Example]:
    for index, row in enumerate(rows):
        text = HOSTILE if index == 0 else f"answer {index}"
        yield replace(row, id="", response=text, parents=(row.id,))


def judge(rows: Iterable[Example]) -> Iterator[Example]:
    for index, row in enumerate(rows):
        score = None if index == 1 else float(index)
        yield replace(row, verdicts={"quality": Verdict(score, f"Score: {index}")})


def keep(rows: Iterable[Example], *, above: float = 3) -> Iterator[Example]:
    for row in rows:
        score = row.verdicts["quality"].score
        if score is None:
            yield set_aside(row, "unreadable")
        else:
            yield row if score > above or score == 0 else set_aside(row, "low_score")


def pair(rows: Iterable[Example]) -> Iterator[PreferencePair]:
    for row in rows:
        yield PreferencePair(
            instruction=row.instruction, chosen="good", rejected=row.response, parents=(row.id,)
        )


def train(rows: Iterable[Example], *, out: Path) -> Model:
    (out / "model").mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (out / "model" / name).write_text("{}")
    return Model(str(out / "model"), prompt_format="raw")


def count(rows: Iterable[Example]) -> Metrics:
    number = len(list(rows))
    views = (table("counted", ["what", "rows"], [["kept", number]]),)
    said = f"{number} are kept."
    return Metrics({"rows": number, "missing": None}, views=views, headline=said, concludes=True)


def choose(measure: Metrics) -> Choice:
    return Choice(True, "enough rows")


class NoTrainer(FakeTrainer):
    def __call__(self, job: TrainJob, out: Path) -> Model:
        raise AssertionError("no training here")


def open_run(folder: Path, *, plan: bool = False, **choices: Any) -> Run:
    backends = Backends(
        lambda model, options, log: FakeEngine(model=model), NoTrainer(), EngineOptions(name="fake")
    )
    return Run(folder, AskedRecipe("test"), backends, StepChoices(**choices), plan=plan)


def recipe(run: Any, seeds_file: Path, *, above: float = 3) -> None:
    seeds = run.rows("seeds", seeds_file)
    it = run.scope("iter0")
    tasks = it.step("synthesize", write, seeds, run.engine(FAKE_MODEL), n=8)
    rated = it.step("assess", judge, it.step("respond", answer, tasks))
    kept = it.step("keep", keep, rated, above=above)
    it.step("pairs", pair, kept)
    it.step("stop", choose, it.step("measure", count, kept))
    run.step("result", train, kept)


@pytest.fixture(scope="session")
def built_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    seeds = folder / "seeds.jsonl"
    lines = [
        {"instruction": f"seed task {i}", "input": "", "response": f"yes {i}"} for i in range(3)
    ]
    seeds.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with open_run(folder / "run") as run:
        recipe(run, seeds)
    return folder / "run"


@pytest.fixture
def a_run(built_run: Path, tmp_path: Path) -> Path:
    """A copy of the run of one's own."""
    shutil.copytree(built_run.parent, tmp_path / "copy")
    return tmp_path / "copy" / "run"


@pytest.fixture
def again(a_run: Path) -> Callable[..., None]:
    """Launches the copied recipe again, with other settings."""

    def launch(**settings: Any) -> None:
        with open_run(a_run) as run:
            recipe(run, a_run.parent / "seeds.jsonl", **settings)

    return launch


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs the command line; errors of ours are raised, anything else fails."""
    runner = CliRunner()

    def invoke(*words: object, **how: Any) -> Result:
        result = runner.invoke(app(), [str(w) for w in words], **how)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


@pytest.fixture
def told(call: Callable[..., Result]) -> Callable[..., Any]:
    """What a command prints with --json, parsed."""

    def invoke(*words: object) -> Any:
        result = call(*words, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return invoke


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a command says on stderr when it ends with `code`; the same for `plan` as for `run`."""

    def invoke(*words: object, code: int = 2) -> str:
        monkeypatch.setattr("sys.argv", ["woolgather", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        assert ended.value.code == code, shown
        assert shown.err.startswith("error: ")
        assert "Traceback" not in shown.err + shown.out
        return shown.err.removeprefix("error: ").rstrip("\n")

    return invoke
