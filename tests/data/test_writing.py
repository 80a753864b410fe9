"""Out and back in: files that other programs open, and what cannot be written."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from woolgather.core.errors import ConfigError, InputError
from woolgather.core.rows import Example, question
from woolgather.data import read_examples, read_pairs, write_rows_as

from .shared import ASIDE, FULL, PAIRS, ROWS, TALK, file


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
@pytest.mark.parametrize("form", ["messages", "alpaca", "sharegpt", "prompt-completion", "jsonl"])
def test_round_trip(tmp_path, form, suffix):
    path = tmp_path / "new" / f"out{suffix}"
    assert write_rows_as([ROWS[0], ASIDE, ROWS[1]], path, form) == 2
    joined = form in ("messages", "sharegpt", "prompt-completion")
    expected = [replace(r, instruction=question(r), input="") for r in ROWS] if joined else ROWS
    assert list(read_examples(path)) == expected
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "form", ["messages", "sharegpt", "prompt-completion", "alpaca", "jsonl", "parquet"]
)
def test_several_turns_come_out_as_they_went_in(tmp_path, form):
    given = [{"id": "t", "messages": TALK}, {"id": "s", "messages": TALK[:2]}]
    given.append({"id": "u", "messages": [{"role": "system", "content": "S"}, *TALK[:4]]})
    rows = list(read_examples(file(tmp_path, "talks.jsonl", given)))
    out = tmp_path / ("out.parquet" if form == "parquet" else "out.jsonl")
    write_rows_as(rows, out, form)
    assert list(read_examples(out)) == rows
    if form == "messages":
        assert list(map(json.loads, out.read_text().splitlines())) == given


def test_a_last_question_without_an_answer_is_exported_where_messages_are(tmp_path):
    (row,) = read_examples(file(tmp_path, "t.jsonl", [{"id": "t", "messages": TALK[:3]}]))
    written = {}
    for form in ("messages", "prompt-completion"):
        write_rows_as([row], tmp_path / "o.jsonl", form)
        written[form] = json.loads((tmp_path / "o.jsonl").read_text())
    assert written["messages"]["messages"] == TALK[:3]
    assert written["prompt-completion"]["completion"] == TALK[1:2]


def test_a_benchmark_of_single_answers_takes_no_conversation(tmp_path):
    rows = read_examples(file(tmp_path, "t.jsonl", [{"id": "t", "messages": TALK}]))
    with pytest.raises(InputError, match=r"row t has several turns\. Use messages or sharegpt"):
        write_rows_as(rows, tmp_path / "o.json", "alpaca-eval")


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_some_formats_keep_all_of_a_row(tmp_path, form):
    path = tmp_path / f"out.{form}"
    many = [replace(FULL, id=f"r{i}") for i in range(1200)]
    assert write_rows_as([*many, ASIDE], path, form) == 1200
    assert list(read_examples(path)) == many
    assert write_rows_as(PAIRS, path, form) == 2
    assert list(read_pairs(path)) == PAIRS


def test_spin_round_trip(tmp_path):
    path = tmp_path / "out.json"
    assert write_rows_as(PAIRS, path, "spin") == 2
    assert list(read_pairs(path)) == PAIRS
    first = json.loads(path.read_text(encoding="utf-8"))[0]
    assert first["generated"] == [
        {"role": "user", "content": "Q?"},
        {"role": "assistant", "content": "bad"},
    ]


def test_spin_as_the_original_stores_it(tmp_path):
    """`train_prefs` and `test_prefs` in Parquet; the second is never trained on."""
    import pyarrow.parquet as pq

    train, test = (tmp_path / f"{n}_prefs-00000-of-00001.parquet" for n in ("train", "test"))
    assert write_rows_as(PAIRS, train, "spin") == 2
    assert write_rows_as(PAIRS[:1], test, "spin") == 1
    assert pq.read_table(train).column("real").to_pylist()[0][-1] == {
        "role": "assistant",
        "content": PAIRS[0].chosen,
    }
    assert list(read_pairs(train)) == PAIRS
    assert list(read_pairs(tmp_path)) == PAIRS
    assert list(read_pairs(test)) == PAIRS[:1]
    with pytest.raises(ConfigError, match="a table holds format parquet or spin, not messages"):
        write_rows_as(ROWS, tmp_path / "a.parquet", "messages")


def test_other_tools_open_what_is_written(tmp_path):
    alpaca, table = tmp_path / "a.json", tmp_path / "t.parquet"
    write_rows_as(ROWS, alpaca, "alpaca")
    assert json.loads(alpaca.read_text(encoding="utf-8"))[0] == {
        "id": "a",
        "instruction": "Say hi.",
        "input": "",
        "output": "Hi.",
    }
    import pyarrow.parquet as pq

    write_rows_as(ROWS, table, "parquet")
    assert pq.read_table(table).column("response").to_pylist() == [r.response for r in ROWS]


TURNS = [{"role": str, "content": str}]
DOCUMENTED = {
    # TRL, docs/source/dataset_formats.md: conversational formats
    ("messages", "rows"): {"messages": TURNS},
    ("prompt-completion", "rows"): {"prompt": TURNS, "completion": TURNS},
    ("preference", "pairs"): {"prompt": TURNS, "chosen": TURNS, "rejected": TURNS},
    # LLaMA-Factory, data/README.md: supervised and preference data sets; system is optional
    ("alpaca", "rows"): {"instruction": str, "input": str, "output": str},
    ("alpaca", "pairs"): {"instruction": str, "input": str, "chosen": str, "rejected": str},
    ("sharegpt", "rows"): {"conversations": [{"from": str, "value": str}]},
    # SPIN, README.md: "Data"
    ("spin", "pairs"): {"real": TURNS, "generated": TURNS},
    # AlpacaEval, README.md: model_outputs
    ("alpaca-eval", "rows"): {"dataset": str, "instruction": str, "output": str, "generator": str},
}
"""Keys and types by format, as those who open the files document them."""


def is_of(value: object, shape: object) -> bool:
    if isinstance(shape, list) and isinstance(value, list):
        return bool(value) and all(is_of(each, shape[0]) for each in value)
    if isinstance(shape, dict) and isinstance(value, dict):
        return value.keys() == shape.keys() and all(is_of(value[k], shape[k]) for k in shape)
    return isinstance(shape, type) and isinstance(value, shape)


@pytest.mark.parametrize(("form", "kind"), DOCUMENTED)
def test_exports_have_the_keys_and_types_that_their_readers_document(tmp_path, form, kind):
    import pyarrow as pa

    path = tmp_path / "out.json"
    given = ROWS if kind == "rows" else PAIRS
    assert write_rows_as(given, path, form, generator="mine") == 2
    records = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(records, list)
    pa.Table.from_pylist(records)  # refuses a column of two types
    extra = {"id"} | ({"system"} if form == "alpaca" else set())
    for record in records:
        bare = {k: v for k, v in record.items() if k not in extra}
        assert is_of(bare, DOCUMENTED[form, kind]), record
    turns = [v for r in records for v in r.values() if isinstance(v, list)]
    known = {"system", "user", "assistant", "human", "gpt"}
    assert {turn.get("role", turn.get("from")) for talk in turns for turn in talk} <= known
    if kind == "pairs":
        assert list(read_pairs(path)) == PAIRS
    elif form == "alpaca-eval":
        assert {record["generator"] for record in records} == {"mine"}
        assert [record["instruction"] for record in records] == [question(row) for row in ROWS]
    else:
        assert [row.response for row in read_examples(path)] == [row.response for row in ROWS]


@pytest.mark.parametrize("form", ["alpaca", "parquet", "jsonl"])
@pytest.mark.parametrize("suffix", [".json", ".other"])
def test_no_rows_make_a_whole_file_that_holds_none(tmp_path, form, suffix):
    path = tmp_path / f"none{suffix}"
    assert write_rows_as([ASIDE], path, form) == 0
    assert path.exists()
    if suffix == ".json":
        with pytest.raises(InputError, match="holds no rows"):
            list(read_examples(path))


def test_an_export_that_fails_leaves_what_was_there(tmp_path):
    path = file(tmp_path, "out.jsonl", "before")

    def rows() -> Iterator[Example]:
        yield ROWS[0]
        raise OSError("no room")

    for form in ("alpaca", "parquet"):
        with pytest.raises(OSError, match="no room"):
            write_rows_as(rows(), path, form)
        assert [p.read_text() for p in tmp_path.iterdir()] == ["before"]


def test_formats_that_do_not_fit(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean sharegpt"):
        write_rows_as(ROWS, tmp_path / "x", "sharegtp")
    with pytest.raises(InputError, match="format spin cannot hold single responses"):
        write_rows_as(ROWS, tmp_path / "x", "spin")
    with pytest.raises(InputError, match=r"messages cannot hold pairs\. Use spin, preference, alp"):
        write_rows_as(PAIRS, tmp_path / "x", "messages")
    with pytest.raises(ConfigError, match=r"AlpacaEval reads an array; .* end in \.json"):
        write_rows_as(ROWS, tmp_path / "x.jsonl", "alpaca-eval")
    assert not list(tmp_path.iterdir())
