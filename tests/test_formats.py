import json
import os
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from woolgather.errors import ConfigError, InputError
from woolgather.formats import (
    GOOD,
    builtin_heldout,
    builtin_seeds,
    detect_shape,
    read_examples,
    read_pairs,
    write_rows_as,
)
from woolgather.records import Example, PreferencePair, Verdict, question
from woolgather.storage import write_rows

SHARED = os.environ.get("WOOLGATHER_SHARED_DATA", "")
ROWS = [
    Example(id="a", instruction="Say hi.", response="Hi.", meta={"origin": "seed"}),
    Example(
        id="b",
        instruction="Sort\nthese, please",
        input="c, b; a\t«ü»",
        response='a\nb "c" 漢字\u2028 😀',
        system="Be brief.",
        meta={"origin": "seed"},
    ),
]
ASIDE = Example(id="x", instruction="Bad", response="row", set_aside="echo")
FULL = Example(
    id="c",
    instruction="Why?",
    response="Because.",
    finish_reason="stop",
    verdicts={"quality": Verdict(9.0, "fine"), "following": Verdict(None, "?")},
    parents=("a", "b"),
    meta={"origin": "machine", "category": "why", "check": {"kind": "contains", "any": ["x"]}},
)
PAIRS = [
    PreferencePair(
        id="p", instruction="Q?", chosen="good", rejected="bad", meta={"origin": "seed"}
    ),
    PreferencePair(
        id="q", instruction="R", chosen="1", rejected="2", system="S", meta={"origin": "seed"}
    ),
]


def file(tmp_path: Path, name: str, content: Any) -> Path:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(c) + "\n" for c in content), encoding="utf-8")
    return path


def one(tmp_path: Path, record: Any, **options: Any) -> Example:
    (row,) = read_examples(file(tmp_path, "one.jsonl", [record]), **options)
    return row


USER, BOT = {"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}


# ---- every shape


@pytest.mark.parametrize(
    ("record", "shape"),
    [
        ({"instruction": "Q", "instances": [{"input": "", "output": "A"}]}, "self-instruct"),
        ({"instruction": "Q", "input": "", "output": "A"}, "alpaca"),
        ({"instruction": "Q", "response": "A"}, "own"),
        ({"prompt": "Q", "completion": "A"}, "prompt-completion"),
        ({"prompt": [USER], "completion": [BOT]}, "prompt-completion"),
        ({"messages": [USER, BOT]}, "messages"),
        ({"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]}, "sharegpt"),
    ],
)  # fmt: skip
def test_every_shape_is_told_and_read(tmp_path, record, shape):
    assert detect_shape(record) == shape
    row = one(tmp_path, record)
    assert row == Example(id="one-1", instruction="Q", response="A", meta={"origin": "seed"})


@pytest.mark.parametrize("shape", ["self-instruct", "alpaca", "own", "messages", "sharegpt"])
def test_the_good_lines_that_errors_show_are_good(tmp_path, shape):
    record = json.loads(GOOD[shape])
    assert detect_shape(record) == shape
    assert one(tmp_path, record).response == "..."


@pytest.mark.parametrize(
    ("record", "shape"),
    [
        ({"real": [USER, BOT], "generated": [USER, {**BOT, "content": "B"}]}, "spin"),
        ({"prompt": "Q", "chosen": "A", "rejected": "B"}, "preference"),
        ({"instruction": "Q", "chosen": "A", "rejected": "B"}, "preference"),
        ({"chosen": [USER, BOT], "rejected": [USER, {**BOT, "content": "B"}]}, "preference"),
    ],
)
def test_pairs(tmp_path, record, shape):
    assert detect_shape(record) == shape
    (pair,) = read_pairs(file(tmp_path, "p.jsonl", [record]))
    assert pair == PreferencePair(
        id="p-1", instruction="Q", chosen="A", rejected="B", meta={"origin": "seed"}
    )


def test_what_any_shape_may_have(tmp_path):
    check = {"kind": "contains", "any": ["A"]}
    record = {"id": 7, "instruction": "Q", "response": "A", "system": "S", "category": "c"}
    row = one(tmp_path, {**record, "check": check, "meta": {"task": "t", "origin": "hand"}})
    assert (row.id, row.system) == ("7", "S")
    assert row.meta == {"origin": "hand", "category": "c", "check": check, "task": "t"}


def test_self_instruct_with_several_instances(tmp_path):
    instances = [{"input": "<noinput>", "output": "A"}, {"input": "x", "output": "B"}]
    record = {"id": "s", "instruction": "Q", "instances": instances, "is_classification": True}
    rows = list(read_examples(file(tmp_path, "s.jsonl", [record])))
    assert [(r.id, r.input, r.response) for r in rows] == [("s", "", "A"), ("s-2", "x", "B")]
    assert rows[0].meta["category"] == "classification"


def test_a_conversation_gives_its_first_question_answer_and_system_text(tmp_path):
    system = {"role": "system", "content": "S"}
    later = [{"role": "user", "content": "Q2"}, {"role": "assistant", "content": "A2"}]
    row = one(tmp_path, {"messages": [system, USER, BOT, *later]})
    assert (row.system, row.instruction, row.response) == ("S", "Q", "A")
    greeted = one(tmp_path, {"messages": [{"role": "assistant", "content": "Hello"}, USER, BOT]})
    assert (greeted.instruction, greeted.response) == ("Q", "A")
    talk = {"system": "T", "conversations": [{"from": "human", "value": "Q"}]}
    assert one(tmp_path, talk, needs_response=False).system == "T"


def test_without_responses_where_none_are_needed(tmp_path):
    assert one(tmp_path, {"prompt": "Q"}, needs_response=False).response == ""
    assert one(tmp_path, {"messages": [USER]}, needs_response=False).instruction == "Q"
    path = file(
        tmp_path, "mixed.jsonl", [{"instruction": "Q"}, {"instruction": "R", "output": "A"}]
    )
    assert [r.response for r in read_examples(path, needs_response=False)] == ["", "A"]


def test_dollys_context_is_input(tmp_path):
    assert one(tmp_path, {"instruction": "Q", "context": "C", "response": "A"}).input == "C"


# ---- every kind of file


def test_json_arrays_and_objects_one_after_another(tmp_path):
    records = [{"instruction": f"Q{i}", "output": "A ],[ }{"} for i in range(3)]
    array = file(tmp_path, "a.json", "\ufeff" + json.dumps(records, indent=2))
    objects = file(tmp_path, "o.json", "\n\n".join(json.dumps(r, indent=1) for r in records))
    for path in (array, objects):
        assert [r.instruction for r in read_examples(path)] == ["Q0", "Q1", "Q2"]
    assert [r.id for r in read_examples(array)] == ["a-2", "a-6", "a-10"]
    assert [r.id for r in read_examples(objects)] == ["o-1", "o-6", "o-11"]


def test_json_records_longer_than_a_chunk(tmp_path):
    records = [{"instruction": "Q" * 200_000, "output": "\n" + "é" * n} for n in (1, 70_000)]
    path = file(tmp_path, "long.json", json.dumps(records, ensure_ascii=False))
    assert [len(r.response) for r in read_examples(path)] == [2, 70_001]


def test_tables(tmp_path):
    check = '{""kind"": ""contains"", ""any"": [""é""]}'
    path = file(
        tmp_path,
        "t.csv",
        f'\ufeffinstruction,output,category,check\r\n"a, b\nc",é,kind,"{check}"\r\n\r\nd,e,,\r\n',
    )
    first, second = read_examples(path)
    assert (first.instruction, first.response, first.id) == ("a, b\nc", "é", "t-2")
    assert first.meta["check"] == {"kind": "contains", "any": ["é"]}
    assert (second.id, second.meta) == ("t-5", {"origin": "seed"})
    tabs = file(tmp_path, "t.tsv", "prompt\tcompletion\nQ\tA\n")
    assert [(r.instruction, r.response) for r in read_examples(tabs)] == [("Q", "A")]


def test_a_directory_in_order_of_name_and_shards_of_a_run(tmp_path):
    folder = tmp_path / "seeds"
    folder.mkdir()
    file(folder, "b.jsonl", [{"instruction": "second", "response": "A"}])
    file(folder, "a.json", '[{"prompt": "first", "completion": "A"}]')
    file(folder, "README.md", "not rows")
    assert [r.instruction for r in read_examples(folder)] == ["first", "second"]
    step = tmp_path / "keep-123456789abc"
    assert len(list(write_rows([FULL, ASIDE], step, "example"))) == 2
    file(step, "record.json", "{}")
    assert list(read_examples(step)) == [FULL]


def test_a_file_without_a_telling_name(tmp_path):
    assert one_of(file(tmp_path, "seeds", '[{"prompt": "Q", "completion": "A"}]')) == "Q"
    assert one_of(file(tmp_path, "rows.txt", '{"prompt": "Q", "completion": "A"}\n')) == "Q"


def one_of(path: Path) -> str:
    (row,) = read_examples(str(path))
    return row.instruction


# ---- out and back in


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
@pytest.mark.parametrize("form", ["messages", "alpaca", "sharegpt", "prompt-completion", "jsonl"])
def test_round_trip(tmp_path, form, suffix):
    path = tmp_path / "new" / f"out{suffix}"
    assert write_rows_as([ROWS[0], ASIDE, ROWS[1]], path, form) == 2
    joined = form in ("messages", "sharegpt", "prompt-completion")
    expected = [replace(r, instruction=question(r), input="") for r in ROWS] if joined else ROWS
    assert list(read_examples(path)) == expected
    assert [p.name for p in path.parent.iterdir()] == [path.name]


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


def test_of_a_longer_talk_the_first_turn_counts_and_a_system_turn_stays(tmp_path):
    system = {"role": "system", "content": "Be kind."}
    more = [{"role": "user", "content": "And?"}, {"role": "assistant", "content": "No."}]
    record = {
        "real": [system, USER, BOT, *more],
        "generated": [system, USER, {**BOT, "content": "bad"}],
    }
    [pair] = read_pairs(file(tmp_path, "p.jsonl", [record]))
    assert (pair.system, pair.instruction) == ("Be kind.", USER["content"])
    assert (pair.chosen, pair.rejected) == (BOT["content"], "bad")


def test_pairs_with_nothing_to_prefer_are_set_aside(tmp_path):
    records = [
        {"prompt": "Q", "chosen": "A", "rejected": "B"},
        {"prompt": "Q", "chosen": "A", "rejected": "C"},
        {"prompt": "Q", "chosen": "A", "rejected": " A\n"},
        {"real": [USER, BOT], "generated": [USER, {**BOT, "content": ""}]},
    ]
    reasons = [p.set_aside for p in read_pairs(file(tmp_path, "p.jsonl", records[:3]))]
    assert reasons == [None, None, "identical"]
    spin = [{"real": [USER, BOT], "generated": [USER, {**BOT, "content": str(n)}]} for n in (1, 2)]
    pairs = read_pairs(file(tmp_path, "s.jsonl", [*spin, records[3]]))
    assert [p.set_aside for p in pairs] == [None, None, "empty"]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"prompt": "Q", "chosen": "A", "rejected": "A"}, "'chosen' and 'rejected' are the same"),
        ({"prompt": "Q", "chosen": "A", "rejected": " "}, "the answer of 'rejected' is empty"),
        ({"prompt": "Q", "chosen": None, "rejected": "B"}, "the answer of 'chosen' is empty"),
        ({"real": [USER, BOT], "generated": [USER]}, "the answer of 'generated' is empty"),
        ({"real": [USER, BOT], "generated": [USER, BOT]}, "'real' and 'generated' are the same"),
    ],
)
def test_a_file_with_nothing_to_prefer_is_one_clear_mistake(tmp_path, record, message):
    with pytest.raises(InputError, match=f"line 1: {message}.*1 of 1 pairs.*Give both answers"):
        list(read_pairs(file(tmp_path, "p.jsonl", [record])))


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
    with pytest.raises(InputError, match=r"cannot hold pairs\. Use spin, jsonl or parquet"):
        write_rows_as(PAIRS, tmp_path / "x", "alpaca")
    assert not list(tmp_path.iterdir())


# ---- mistakes

GOOD_LINE = '{"instruction": "Q", "input": "", "output": "A"}\n'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"instruction": "Q", ', "not valid JSON: Expecting property name"),
        ("not json", "not valid JSON: Expecting value, at column 1"),
        ("[" * 100_000, "not valid JSON: nested too deeply"),
        ('["a"]', "a list, where an object belongs"),
        ('"text"', "text, where an object belongs"),
        ('{"input": "", "output": "A"}', "field 'instruction' is missing"),
        ('{"instruction": "Q"}', "field 'output' is missing"),
        ('{"instruction": "Q", "output": ""}', "field 'output' is empty"),
        ('{"instruction": " \\n", "output": "A"}', "field 'instruction' is empty"),
        ('{"instruction": 5, "output": "A"}', "field 'instruction' is the number 5, not text"),
        ('{"instruction": null, "output": "A"}', "field 'instruction' is null, not text"),
        ('{"instruction": "Q", "output": ["A"]}', "field 'output' is a list, not text"),
        ('{"instruction": "Q", "input": {}, "output": "A"}', "field 'input' is an object"),
        ('{"instruction": "Q", "output": "A", "check": {"kind": "x"}}', "field 'check': "),
        ('{"instruction": "Q", "output": "A", "check": "{"}', "field 'check' is not JSON"),
        ('{"instruction": "Q", "output": "A", "meta": [1]}', "field 'meta' is a list"),
        ('{"instruction": "Q", "output": "A\\ud83d"}', "field 'output' has half a character at 2"),
        ('{"instruction": "Q", "output": "A", "category": true}', "field 'category' is true"),
    ],
)
def test_a_bad_line_is_named_and_a_good_one_shown(tmp_path, line, message):
    path = file(tmp_path, "seeds.jsonl", GOOD_LINE + "\n" + line + "\n")
    with pytest.raises(InputError) as caught:
        list(read_examples(path))
    said = str(caught.value)
    assert said.startswith(f"{path}, line 3: {message}")
    assert '{"instruction": "..."' in said


def shaped(field: str, *turns: Any) -> str:
    return json.dumps({field: list(turns)})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (shaped("messages", USER), "no answer follows"),
        (shaped("messages", BOT), "no message of the user"),
        (shaped("messages"), "an empty list, where a list of messages belongs"),
        (shaped("messages", "hi"), "message 1 is text, not an object"),
        (shaped("messages", {"role": "boss", "content": "x"}), "message 1: 'role' is 'boss'"),
        (shaped("messages", {"content": "x"}), "message 1: 'role' is None"),
        (shaped("messages", USER, {"role": "assistant"}), "message 2: 'content' is null"),
        (shaped("messages", {**USER, "content": " "}), "the user's message is empty"),
        (shaped("messages", {**USER, "content": "\ud83d"}), "message 1 has half a character"),
        (shaped("conversations", {"from": "human"}), "message 1: 'value' is null"),
        ('{"messages": "hi"}', "text, where a list of messages belongs"),
        ('{"instruction": "Q", "instances": []}', "field 'instances' is not a list with"),
        ('{"instruction": "Q", "instances": ["A"]}', r"instances\[0\] is text, not an object"),
        ('{"instruction": "Q", "instances": [{"input": "x"}]}', "field 'output' of an instance"),
        (
            '{"prompt": [], "completion": "A"}',
            "'prompt' is a list of messages, 'completion' is not",
        ),
        ('{"real": [], "generated": []}', "a pair of responses .shape spin., where one belongs"),
        ('{"question": "Q", "answer": "A"}', r"the fields \(answer, question\) are those of no"),
        ("{}", r"the fields \(none\) are those of no shape"),
        ('{"instruction": "Q", "verdicts": 3, "parents": []}', "not a whole row of woolgather's"),
    ],
)
def test_mistakes_of_other_shapes(tmp_path, line, message):
    with pytest.raises(InputError, match=f"line 1: {message}"):
        list(read_examples(file(tmp_path, "s.jsonl", line)))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            {"prompt": "Q", "completion": "A"},
            "one response .shape prompt-completion., where a pair",
        ),
        ({"prompt": "Q", "chosen": "A", "rejected": 3}, "field 'rejected' is the number 3"),
        ({"chosen": "A", "rejected": "B"}, "field 'prompt' is missing"),
        (
            {"real": [USER, BOT], "generated": [{**USER, "content": "X"}, BOT]},
            "'real' and 'generated' answer different questions",
        ),
        ({"real": "Q", "generated": [USER, BOT]}, "text, where a list of messages belongs"),
    ],
)
def test_mistakes_in_pairs(tmp_path, record, message):
    with pytest.raises(InputError, match=f"line 1: {message}"):
        list(read_pairs(file(tmp_path, "p.jsonl", [record])))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[\n{"prompt": "Q"},\n{"prompt": }\n]', "line 3: not valid JSON: Expecting value"),
        ('[\n{"prompt": "Q"}\n', "line 3: the array has no end"),
        ('[{"prompt": "Q"}]\n[]', "line 2: text after the end of the array"),
        ('{"prompt": "Q"}\nrubbish', "line 2: not valid JSON"),
        ('[{"prompt": "Q"}, {"prompt": "R', "line 1: not valid JSON: Unterminated string"),
        ("[1, 2]", "line 1: the number 1, where an object belongs"),
        ("[]", "holds no rows"),
        ("", "holds no rows"),
    ],
)
def test_mistakes_in_json_files(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        list(read_examples(file(tmp_path, "s.json", text), needs_response=False))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("instruction,output\nQ,A,extra\n", r"line 2: 3 columns, where the header has 2 \(instr"),
        ("instruction,output\nQ\n", "line 2: 1 columns"),
        ("instruction,instruction\nQ,A\n", "line 1: column 'instruction' appears twice"),
        ('instruction,output\n"Q,A\n', "line 2: not a table: unexpected end of data"),
        ("a,b\nQ,A\n", r"line 2: the fields \(a, b\) are those of no shape"),
        ("instruction,output\nQ,A\nR,\n", "line 3: field 'output' is empty"),
        ("instruction,output\n", "holds no rows"),
        ("", "holds no rows"),
    ],
)
def test_mistakes_in_tables(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        list(read_examples(file(tmp_path, "s.csv", text)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("s.jsonl", GOOD_LINE.encode() + b'{"prompt": "caf\xe9"}', "line 2: byte 16 is not UTF-8"),
        ("s.json", b'[{"prompt": "caf\xe9"}]', "not UTF-8. Save the file as UTF-8"),
        ("s.csv", b"prompt,completion\ncaf\xe9,A\n", "line 2: byte 4 is not UTF-8"),
        ("s.jsonl", GOOD_LINE.encode("utf-16"), "is UTF-16 text. Save it as UTF-8"),
        ("s.jsonl", b"\x1f\x8b\x08\x00data", "is a binary file.*unpack an archive"),
        ("s.jsonl", b"a\0b", "is a binary file"),
        ("s.parquet", b"PAR1 and nothing", "is not whole Parquet"),
        ("s.parquet", b"", "is not whole Parquet"),
        ("s.txt", b"plain words", r"its kind is not clear; its name should end in \.jsonl"),
        ("s.jsonl", b"\n \n", "holds no rows. A good line"),
    ],
)
def test_files_that_are_no_text(tmp_path, name, content, message):
    with pytest.raises(InputError, match=message):
        list(read_examples(file(tmp_path, name, content)))


def test_parquet_mistakes_name_the_row(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "s.parquet"
    pq.write_table(pa.table({"prompt": ["Q", "R"], "completion": ["A", None]}), path)
    with pytest.raises(InputError, match="row 2: field 'completion' is empty"):
        list(read_examples(path))
    assert [r.id for r in read_examples(path, needs_response=False)] == ["s-1", "s-2"]


def test_what_is_not_there(tmp_path):
    file(tmp_path, "seeds.jsonl", GOOD_LINE)
    with pytest.raises(InputError, match=r"no such file\. Did you mean .*seeds\.jsonl\?"):
        list(read_examples(tmp_path / "seed.jsonl"))
    with pytest.raises(InputError, match=r"no such file\.$"):
        list(read_examples(tmp_path / "zzz"))
    with pytest.raises(InputError, match=r"There is no directory .*nowhere either"):
        list(read_examples(tmp_path / "nowhere" / "seeds.jsonl"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no file that ends in"):
        list(read_examples(tmp_path / "empty"))


def test_rows_set_aside_alone_are_no_rows(tmp_path):
    assert len(list(write_rows([ASIDE], tmp_path / "step", "example"))) == 1
    with pytest.raises(InputError, match="holds no rows"):
        list(read_examples(tmp_path / "step"))


# ---- size


@pytest.mark.parametrize("name", ["big.jsonl", "big.json", "big.csv"])
def test_memory_does_not_grow_with_the_file(tmp_path, name):
    path = tmp_path / name
    text = "x" * 2000
    with path.open("w") as out:
        if name.endswith("csv"):
            out.write("prompt,completion\n" + f"Q,{text}\n" * 5000)
        elif name.endswith("jsonl"):
            out.write((json.dumps({"prompt": "Q", "completion": text}) + "\n") * 5000)
        else:
            out.write(
                "[" + ",".join([json.dumps({"prompt": "Q", "completion": text})] * 5000) + "]"
            )
    assert path.stat().st_size > 10_000_000
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_examples(path)) == 5000
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


# ---- what ships, and what others made


def test_what_ships_is_read():
    seeds, held_out = list(read_examples(builtin_seeds())), list(read_examples(builtin_heldout()))
    assert len(seeds) > 100
    assert len(held_out) >= 60
    assert all(row.meta["category"] for row in seeds)
    assert sum("check" in row.meta for row in held_out) >= 50
    assert len({row.id for row in seeds + held_out}) == len(seeds) + len(held_out)


@pytest.mark.skipif(not SHARED, reason="WOOLGATHER_SHARED_DATA is not set")
def test_self_instructs_own_seeds():
    rows = list(read_examples(Path(SHARED) / "self_instruct_seed_tasks.jsonl"))
    assert len(rows) == 175
    assert rows[0].id == "seed_task_0"
    assert sum(row.meta.get("category") == "classification" for row in rows) == 26
    assert sum(not row.input for row in rows) == 50
    prompts = read_examples(Path(SHARED) / "ifeval_input_data.jsonl", needs_response=False)
    assert sum(1 for _ in prompts) == 541
