"""A run of a user's own that asks two models from outside and one that it trains; whom it asks answers
with its own name, so that an answer of another model is seen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from woolgather.core.artifacts import Model
from woolgather.core.rows import Example
from woolgather.engines.base import Engine, EngineOptions, Request, Sampling, ask
from woolgather.engines.fake import FakeEngine
from woolgather.runs.call import StepChoices
from woolgather.runs.folder import AskedRecipe
from woolgather.runs.progress import Progress
from woolgather.runs.record import StepRecord, current_steps, read_launches
from woolgather.runs.run import Backends, Run
from woolgather.training.fake import FakeTrainer
from woolgather.training.job import TrainJob

WORDS = ("one", "two", "six")
Answered = Callable[[Model], Engine]


def write(engine: Engine, words: tuple[str, ...] = WORDS) -> Iterator[Example]:
    for word, completion in zip(
        words, ask(engine, [Request(f"Say {w}.", Sampling()) for w in words]), strict=True
    ):
        yield Example(instruction=f"Say {word}.", response=completion.text)


def rate(rows: Iterable[Example], engine: Engine) -> Iterator[Example]:
    asked = list(rows)
    for row, told in zip(
        asked, ask(engine, [Request(f"Rate {r.response}", Sampling()) for r in asked]), strict=True
    ):
        yield replace(row, id="", meta={"rated": told.text}, parents=(row.id,))


def tune(rows: Iterable[Example], *, out: Path) -> Model:
    """Its weights follow from the rows."""
    (out / "model").mkdir()
    text = "".join(row.response + str(row.meta) for row in rows)
    (out / "model" / "weights").write_text(hashlib.sha256(text.encode()).hexdigest())
    return Model(str(out / "model"))


def recipe(run: Any) -> None:
    base, judge = run.model("base", "fake"), run.model("judge_model", "fake-judge")
    rows, model = [], base
    for t in range(2):
        it = run.scope(f"iter{t}")
        rows.append(it.step("respond", write, run.engine(model)))
        rated = it.step("assess", rate, rows[-1], run.engine(judge))
        model = it.step("train", tune, rated)


def name_of(model: Model) -> str:
    return {"fake": "base", "fake-judge": "judge"}.get(model.path, "tuned")


def by_name(model: Model) -> Engine:
    """As it should be: each model answers for itself."""
    return FakeEngine(answer=lambda prompt, _: f"{name_of(model)} on {prompt[:20]}", model=model)


def by_base(model: Model) -> Engine:
    """As one server did: the base answers for all."""
    return FakeEngine(answer=lambda prompt, _: f"base on {prompt[:20]}", model=model)


class NoTrainer(FakeTrainer):
    def __call__(self, job: TrainJob, out: Path) -> Model:
        raise AssertionError("no training here")


def opened(
    folder: Path,
    answers: Answered = by_name,
    engine: str = "transformers",
    *,
    plan: bool = False,
    progress: Progress | None = None,
    **more: Any,
) -> Run:
    options = {k: more.pop(k) for k in ("urls", "serve", "chat_template_kwargs") if k in more}
    backends = Backends(
        lambda model, options, log: answers(model), NoTrainer(), EngineOptions(engine, **options)
    )
    choices = StepChoices(**more)
    return Run(folder, AskedRecipe("asking"), backends, choices, plan=plan, progress=progress)


def planned(folder: Path, **more: Any) -> dict[str, tuple[str, str]]:
    """State and reason of each step."""
    with opened(folder, plan=True, **more) as run:
        recipe(run)
    return {p.step: (p.state, p.why) for p in run.planned}


def states(folder: Path) -> dict[str, tuple[str, str]]:
    """The same of what the latest launch did."""
    steps = read_launches(folder)[-1].steps
    return {e["step"]: (e["state"], e["why"]) for e in steps}


def records(folder: Path) -> dict[str, StepRecord]:
    return {r.step: r for _, r in current_steps(folder)}


def texts(folder: Path) -> dict[str, list[str]]:
    """What models said, by step."""
    from woolgather.core.storage import read_rows

    found = {}
    for entry, record in current_steps(folder):
        if record.kind == "dataset":
            rows: list[Any] = list(read_rows(folder / str(entry["path"])))
            found[record.step] = [str(r.meta.get("rated") or r.response) for r in rows]
    return found


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")


def as_before(folder: Path, engine: str = "openai", words: tuple[str, ...] | None = None) -> None:
    """Make the folder what the version before would have left, run with `engine`."""
    url = "http://localhost:8000"
    asked = {"name": engine, **({"urls": [url]} if engine == "openai" else {})}

    def older(record: dict[str, Any]) -> None:
        if record["execution"]:
            record["execution"] = {"engine": asked}

    def launched(record: dict[str, Any]) -> None:
        del record["journal"]
        default = ("woolgather", "run", "asking.py", "--engine", engine)
        record["provenance"]["argv"] = list(default if words is None else words)

    for path in folder.glob("**/record.json"):
        rewrite(path, older)
    for path in (folder / "launches").glob("*.json"):
        rewrite(path, launched)
