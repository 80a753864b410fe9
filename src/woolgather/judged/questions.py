"""What each benchmark asks, read from the file that its authors published.

    alpaca_eval  alpaca_eval.json  an array of {"dataset", "instruction", "output", "generator"}; the
                                   outputs are the answers that ours are compared with
    mt_bench     question.jsonl    {"question_id", "category", "turns": [two]}, with "reference" where a
                                   question has reference answers
    vicuna       question.jsonl    the same with one turn

The one idea: questions are never shipped and never downloaded. A file that is not there is one error with
where to get it and where to put it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from woolgather.core.errors import InputError
from woolgather.core.rows import JSON
from woolgather.data.record_files import Place, read_file

REFERENCES = "reference_answer/gpt-4.jsonl"
"""Where FastChat keeps the reference answers of the questions that have one in no field of their own."""


@dataclass(frozen=True)
class Benchmark:
    """A set of questions, and how its answers are judged."""

    name: str
    title: str
    file: str
    folder: str
    """Where the file may lie within --data-dir, if not in --data-dir itself."""
    source: str
    """Where to get the file."""
    turns: int = 1
    compared: bool = False
    """Whether an answer is compared with the reference; otherwise it is graded by itself."""


_FASTCHAT = "question.jsonl from github.com/lm-sys/FastChat, folder fastchat/llm_judge/data"
BENCHMARKS: Mapping[str, Benchmark] = {
    each.name: each
    for each in (
        Benchmark(
            "alpaca_eval",
            "AlpacaEval",
            "alpaca_eval.json",
            "tatsu-lab/alpaca_eval",
            "alpaca_eval.json of the hub's data set tatsu-lab/alpaca_eval",
            compared=True,
        ),
        Benchmark(
            "mt_bench",
            "MT-Bench",
            "question.jsonl",
            "mt_bench",
            f"{_FASTCHAT}/mt_bench (and {REFERENCES} beside it)",
            turns=2,
        ),
        Benchmark(
            "vicuna",
            "Vicuna questions",
            "question.jsonl",
            "vicuna_bench",
            f"{_FASTCHAT}/vicuna_bench",
        ),
    )
}


@dataclass(frozen=True)
class BenchmarkQuestion:
    """What a model is asked, in one turn or two."""

    id: str
    turns: tuple[str, ...]
    category: str = ""
    """For AlpacaEval the data set that the instruction comes from."""
    references: tuple[str, ...] = ()
    """Reference answers by turn; none where there are none."""
    generator: str = ""
    """Whose answers the references are."""


def read_questions(
    benchmark: Benchmark, data_dir: Path | None, limit: int | None = None
) -> list[BenchmarkQuestion]:
    """Returns the questions, the first `limit` of them where one is given.

    Raises InputError, with the remedy, for a file that is not there and for a record that is none of this
    benchmark's.
    """
    path = _find(benchmark, data_dir)
    read = _read_alpaca if benchmark.compared else _read_turns
    found = list(islice(read(benchmark, path), limit))
    if not found:
        raise InputError(f"{path}: there is no question in it. Get it again: {benchmark.source}.")
    if not benchmark.compared:
        found = _with_references(found, path.parent / REFERENCES)
    return found


def _find(benchmark: Benchmark, data_dir: Path | None) -> Path:
    inside = f"{benchmark.folder}/{benchmark.file}"
    root = data_dir or Path("data")
    for place in (root / inside, root / benchmark.file):
        if place.is_file():
            return place
    raise InputError(
        f"--suite {benchmark.name}: its questions are not in {root}, and woolgather downloads none. Get "
        f"{benchmark.source}, put it at {root / inside}, and give the same command again"
        f"{'' if data_dir else ', with --data-dir where it lies in another folder'}."
    )


def _read_alpaca(benchmark: Benchmark, path: Path) -> Iterator[BenchmarkQuestion]:
    good = '{"dataset": "...", "instruction": "...", "output": "...", "generator": "..."}'
    for number, (place, value) in enumerate(read_file(path)):
        record = _object(place, value, good)
        yield BenchmarkQuestion(
            str(number),
            (_text(record, "instruction", place, good),),
            str(record.get("dataset", "")),
            (_text(record, "output", place, good, empty=True),),
            _text(record, "generator", place, good),
        )


def _read_turns(benchmark: Benchmark, path: Path) -> Iterator[BenchmarkQuestion]:
    shown = ", ".join(['"..."'] * benchmark.turns)
    good = f'{{"question_id": 1, "category": "...", "turns": [{shown}]}}'
    seen: set[str] = set()
    for place, value in read_file(path):
        record = _object(place, value, good)
        name = record.get("question_id")
        if not isinstance(name, int | str) or str(name) in seen:
            raise place.wrong("`question_id` has to be a number that no other question has.", good)
        seen.add(str(name))
        turns = _texts(record.get("turns"))
        if len(turns) != benchmark.turns:
            raise place.wrong(
                f"`turns` has to hold {benchmark.turns} text{'s' * (benchmark.turns > 1)} for "
                f"{benchmark.title}.",
                good,
            )
        category = str(record.get("category", ""))
        yield BenchmarkQuestion(str(name), turns, category, _texts(record.get("reference")))


def _with_references(questions: Sequence[BenchmarkQuestion], path: Path) -> list[BenchmarkQuestion]:
    """Returns the questions with the reference answers of the file, where there is one."""
    if not path.is_file():
        return list(questions)
    good = '{"question_id": 1, "choices": [{"index": 0, "turns": ["...", "..."]}]}'
    found: dict[str, tuple[str, ...]] = {}
    for place, value in read_file(path):
        record = _object(place, value, good)
        choices = record.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        turns = _texts(first.get("turns")) if isinstance(first, dict) else ()
        if not turns:
            raise place.wrong("`choices` has to hold the turns of an answer.", good)
        found[str(record.get("question_id"))] = turns
    return [replace(q, references=q.references or found.get(q.id, ())) for q in questions]


def _object(place: Place, value: object, good: str) -> Mapping[str, JSON]:
    if not isinstance(value, dict):
        raise place.wrong("expected an object.", good)
    return value


def _text(
    record: Mapping[str, JSON], field: str, place: Place, good: str, *, empty: bool = False
) -> str:
    value = record.get(field)
    if not isinstance(value, str) or not (value.strip() or empty):
        raise place.wrong(f"`{field}` has to be a text.", good)
    return place.whole(value, field, good)


def _texts(value: JSON) -> tuple[str, ...]:
    """Returns a list of texts; none for anything else."""
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        return ()
    return tuple(value)
