"""Questions from the files that the benchmarks' authors published, and what is said of others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from woolgather.core.errors import InputError
from woolgather.judged.questions import BENCHMARKS, REFERENCES, read_questions

from .conftest import TALKS, save_lines

ALPACA, MT, VICUNA = (BENCHMARKS[name] for name in ("alpaca_eval", "mt_bench", "vicuna"))


def test_each_layout_is_read(data: Path) -> None:
    first = read_questions(ALPACA, data)[0]
    assert first.turns == ("Name 1 uses of salt.",)
    assert (first.category, first.references, first.generator) == ("kitchen", ("Use 1.",), "cook")
    talks = read_questions(MT, data)
    assert [talk.id for talk in talks] == ["1", "2", "7"]
    assert talks[0].references == ("132", "66")
    assert talks[1].references == ()
    assert [len(q.turns) for q in read_questions(VICUNA, data)] == [1, 1, 1]
    assert len(read_questions(ALPACA, data, limit=2)) == 2


def test_a_data_sets_own_folder_is_as_good(data: Path) -> None:
    folder = data / "tatsu-lab" / "alpaca_eval"
    folder.mkdir(parents=True)
    (data / "alpaca_eval.json").rename(folder / "alpaca_eval.json")
    assert len(read_questions(ALPACA, data)) == 6


def test_references_may_lie_in_a_file_of_their_own(data: Path) -> None:
    place = data / "mt_bench" / REFERENCES
    place.parent.mkdir()
    save_lines(place, [{"question_id": 2, "choices": [{"index": 0, "turns": ["21", "42"]}]}])
    assert [q.references for q in read_questions(MT, data)] == [("132", "66"), ("21", "42"), ()]
    save_lines(place, [{"question_id": 2, "choices": []}])
    with pytest.raises(InputError, match=r"gpt-4.jsonl, line 1: `choices` has to hold"):
        read_questions(MT, data)


@pytest.mark.parametrize(
    ("benchmark", "file"),
    [
        (ALPACA, "alpaca_eval.json"),
        (MT, "mt_bench/question.jsonl"),
        (VICUNA, "vicuna_bench/question"),
    ],
)
def test_a_file_that_is_not_there_is_named_with_its_source(
    benchmark: object, file: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as error:
        read_questions(benchmark, tmp_path)  # type: ignore[arg-type]
    for part in ("are not in", "downloads none", f"put it at {tmp_path}", file):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (["no object"], "line 1: expected an object"),
        ({"instruction": "Q", "output": "A"}, "line 1: `generator` has to be a text"),
        ({"instruction": " ", "output": "A", "generator": "g"}, "`instruction` has to be a text"),
        ({"instruction": "Q", "output": 3, "generator": "g"}, "`output` has to be a text"),
    ],
)
def test_a_record_of_another_layout_names_line_and_field(
    record: object, message: str, data: Path
) -> None:
    (data / "alpaca_eval.json").write_text(json.dumps([record]))
    with pytest.raises(InputError, match=message) as error:
        read_questions(ALPACA, data)
    assert 'A good one: {"dataset"' in str(error.value)


def test_turns_and_ids_are_held_to_the_benchmark(data: Path) -> None:
    place = data / "mt_bench" / "question.jsonl"
    save_lines(place, [{**TALKS[0], "turns": ["one"]}])
    with pytest.raises(InputError, match=r"line 1: `turns` has to hold 2 texts for MT-Bench"):
        read_questions(MT, data)
    save_lines(place, [TALKS[0], TALKS[0]])
    with pytest.raises(InputError, match="line 2: `question_id` has to be"):
        read_questions(MT, data)
    place.write_text("")
    with pytest.raises(InputError, match=r"no question in it|empty"):
        read_questions(MT, data)
