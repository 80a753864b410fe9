"""Kinds of files, mistakes in them, and memory that does not grow with them."""

import json
import tracemalloc
from pathlib import Path

import pytest

from woolgather.core.errors import InputError
from woolgather.core.storage import write_rows
from woolgather.data import read_examples, read_pairs, record_files

from .shared import ASIDE, BOT, FULL, GOOD_LINE, USER, file, one


def one_of(path: Path) -> str:
    (row,) = read_examples(str(path))
    return row.instruction


def test_without_responses_where_none_are_needed(tmp_path):
    assert one(tmp_path, {"prompt": "Q"}, needs_response=False).response == ""
    assert one(tmp_path, {"messages": [USER]}, needs_response=False).instruction == "Q"
    path = file(
        tmp_path, "mixed.jsonl", [{"instruction": "Q"}, {"instruction": "R", "output": "A"}]
    )
    assert [r.response for r in read_examples(path, needs_response=False)] == ["", "A"]


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


def test_a_record_that_does_not_end_is_not_read_to_the_end_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(record_files, "LONGEST", 1 << 20)
    path = file(tmp_path, "long.json", '[{"prompt": "' + "x" * (3 << 20) + '"}]')
    with pytest.raises(InputError, match="line 1: a record of more than 1 Mi characters, or one"):
        list(read_examples(path))


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[\n{"prompt": "Q"},\n{"prompt": }\n]', "line 3: not valid JSON: Expecting value"),
        ('[\n{"prompt": "Q"}\n', "line 3: the array has no end"),
        ('[{"prompt": "Q"}]\n[]', "line 2: text after the end of the array"),
        ('{"prompt": "Q"}\nrubbish', "line 2: not valid JSON"),
        ('[{"prompt": "Q"}, {"prompt": "R', "line 1: not valid JSON: Unterminated string"),
        ("[1, 2]", "line 1: expected a JSON object, found the number 1"),
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
        ("s.parquet", b"PAR1 and nothing", "is not a complete Parquet file"),
        ("s.parquet", b"", "is not a complete Parquet file"),
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


def test_replayed_rows_are_told_from_seeds_and_name_their_line(tmp_path):
    lines = [{"instruction": "Q", "response": "A", "id": "7", "meta": {"origin": "seed"}}]
    lines += [{"instruction": "R", "response": "B"}]
    first, second = read_examples(file(tmp_path, "sft.jsonl", lines), part="replay")
    assert (first.id, second.id) == ("replay-7", "replay-sft-2")
    assert first.meta == {"origin": "replay", "place": "sft.jsonl, line 1"}
    assert second.meta == {"origin": "replay", "place": "sft.jsonl, line 2"}
    bad = file(tmp_path, "bad.jsonl", [{"instruction": "Q", "response": ""}])
    with pytest.raises(InputError, match=r"bad\.jsonl, line 1: field 'response' is empty"):
        list(read_examples(bad, part="replay"))
