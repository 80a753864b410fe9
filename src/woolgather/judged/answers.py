"""What a model answers to a benchmark's questions, and the file that the benchmark's own programs read.

The one idea: a second turn is asked after the model's own first answer, and every answer is greedy, so
that the same model always gives the same file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from woolgather.core.errors import EngineError
from woolgather.core.fingerprint import fingerprint
from woolgather.core.rows import JSON, Example
from woolgather.core.storage import publish
from woolgather.data.record_files import write_json_records
from woolgather.data.writing import write_rows_as
from woolgather.engines.base import Engine, Sampling
from woolgather.judged.questions import Benchmark, BenchmarkQuestion
from woolgather.ops.text.ask import ask_rows
from woolgather.prompting.turns import answer_prompt, stops

TOKENS = 1024
"""Tokens of an answer at most, unless the user says otherwise."""


@dataclass(frozen=True)
class BenchmarkAnswer:
    """What a model said to a question."""

    question: BenchmarkQuestion
    turns: tuple[str, ...] = ()
    """By turn; empty for one that did not fit into the model's context."""
    cut: int = 0
    """Turns that were cut at their limit of tokens."""
    missing: int = 0
    """Turns that did not fit into the model's context."""

    @property
    def characters(self) -> float:
        """Returns the mean length of its turns in characters, as AlpacaEval counts length."""
        return sum(map(len, self.turns)) / len(self.turns)


def answer_questions(
    questions: Sequence[BenchmarkQuestion], engine: Engine, max_tokens: int = TOKENS
) -> list[BenchmarkAnswer]:
    """Returns the answer to each question. Raises EngineError where the engine gave up on some; those
    that came are in its journal."""
    answers = [BenchmarkAnswer(question) for question in questions]
    for turn in range(max(len(question.turns) for question in questions)):
        answers = _answer_turn(answers, turn, engine, max_tokens)
    return answers


def _answer_turn(
    answers: Sequence[BenchmarkAnswer], turn: int, engine: Engine, max_tokens: int
) -> list[BenchmarkAnswer]:
    form = engine.model.prompt_format
    past = {answer.question.id: _past_turns(answer) for answer in answers}
    found = ask_rows(
        answers,
        engine,
        lambda a: answer_prompt(
            Example(instruction=a.question.turns[turn]), form, past[a.question.id]
        ),
        lambda a: Sampling(
            temperature=0.0, max_tokens=max_tokens, stop=stops(form, past[a.question.id])
        ),
        seed=0,
    )
    out, failed = [], []
    for answer, completion, _ in found:
        if completion.finish_reason == "error":
            failed.append(completion.why or "no reason was given")
        out.append(
            replace(
                answer,
                turns=(*answer.turns, completion.text.strip()),
                cut=answer.cut + (completion.finish_reason == "length"),
                missing=answer.missing + (completion.finish_reason == "too_long"),
            )
        )
    if failed:
        raise EngineError(
            f"{engine.model.path}: {len(failed)} of {len(out)} questions got no answer ({failed[0]}). "
            "The others are kept; give the same command again."
        )
    return out


def _past_turns(answer: BenchmarkAnswer) -> list[Example]:
    asked = zip(answer.question.turns, answer.turns, strict=False)  # turns to come have no answer
    return [Example(instruction=question, response=said) for question, said in asked]


def write_answers(
    answers: Sequence[BenchmarkAnswer], benchmark: Benchmark, folder: Path, model: str
) -> Path:
    """Writes the answers as the benchmark's own programs read them, and returns the file:
    model_outputs.json for AlpacaEval, model_answer.jsonl in FastChat's format for the others."""
    folder.mkdir(parents=True, exist_ok=True)
    if benchmark.compared:
        path = folder / "model_outputs.json"
        write_rows_as(map(_to_row, answers), path, "alpaca-eval", generator=model)
        return path
    path = folder / "model_answer.jsonl"
    write_lines((_to_model_answer(answer, model) for answer in answers), path)
    return path


def _to_row(answer: BenchmarkAnswer) -> Example:
    question = answer.question
    return Example(
        instruction=question.turns[0],
        response=answer.turns[0],
        meta={"dataset": question.category},
    )


def _to_model_answer(answer: BenchmarkAnswer, model: str) -> dict[str, JSON]:
    name = answer.question.id
    return {
        "question_id": int(name) if name.isdecimal() else name,
        "answer_id": fingerprint([model, name, list(answer.turns)])[:22],
        "model_id": model,
        "choices": [{"index": 0, "turns": list(answer.turns)}],
    }


def write_lines(records: Iterable[Mapping[str, JSON]], path: Path) -> None:
    """Writes JSONL, whole or not at all."""
    temp = path.with_name(f".{path.name}.tmp")
    try:
        write_json_records(records, temp, array=False)
        publish(temp, path)
    finally:
        temp.unlink(missing_ok=True)
