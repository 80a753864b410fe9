"""Values of every kind, in every kind of file: read as they stand, or refused in one sentence."""

import csv
import datetime
import gzip
import json
import math
import random
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from woolgather.core.errors import InputError
from woolgather.core.rows import Example
from woolgather.core.storage import read_rows, write_rows
from woolgather.data import read_examples
from woolgather.data.values import DEEPEST, to_plain

from .shared import FULL, file, one

BASE = '"instruction": "Q", "response": "A"'
STORED = {
    "id": "a",
    "instruction": "Q",
    "input": "",
    "response": "A",
    "system": "",
    "finish_reason": None,
    "verdicts": [],
    "parents": [],
    "set_aside": None,
    "meta": "{}",
}
HALF = "\ud83d"


def row_of(tmp_path: Path, text: str, name: str = "s.jsonl") -> Example:
    (row,) = read_examples(file(tmp_path, name, text))
    return row


@pytest.mark.parametrize(
    ("given", "id_"),
    [
        ("7", "7"),
        ("7.5", "7.5"),
        ('"007"', "007"),
        ("18446744073709551616000", "18446744073709551616000"),
        ("null", "s-1"),
        ('""', "s-1"),
        ('" "', "s-1"),
        ('"a\\u0000/../b"', "a\0/../b"),
    ],
)
def test_an_id_is_text_or_a_number(tmp_path, given, id_):
    assert row_of(tmp_path, f'{{{BASE}, "id": {given}}}').id == id_


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("true", "line 1: field 'id' is true, neither text nor a number.*leave it out"),
        ("[1]", "field 'id' is a list, neither"),
        ('{"a": 1}', "field 'id' is an object, neither"),
        ("NaN", "field 'id' is the number nan, which JSON does not have"),
        ('"\\ud83d"', "field 'id' has half a character at 1"),
        ("9" * 5000, "line 1: not valid JSON: a number of more than 4,300 digits"),
    ],
)
def test_what_is_no_id(tmp_path, given, message):
    for name in ("s.jsonl", "s.json"):
        with pytest.raises(InputError, match=message):
            row_of(tmp_path, f'{{{BASE}, "id": {given}}}', name)


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ('{"x": [1, NaN]}', r"line 1: field 'meta\.x\[1\]' is the number nan, which JSON"),
        ('{"x": 1e400}', r"field 'meta\.x' is the number inf"),
        (
            '{"x": {"y": "\\udc00"}}',
            r"field 'meta\.x\.y' has half a character at 1\. Write it whole",
        ),
        ('{"\\udc00": 1}', "a name in field 'meta' has half a character"),
        (f'{{"x": {"[" * 200 + "]" * 200}}}', "is nested more than 100 levels deep"),
        ('{"origin": 5}', r"field 'meta\.origin' is the number 5, not text"),
        ('{"category": ["a"]}', r"field 'meta\.category' is a list, not text"),
        ('{"check": 3}', r"field 'meta\.check': a check is a mapping"),
        ('"{\\"x\\": NaN}"', r"field 'meta\.x' is the number nan"),
        ('"{"', "field 'meta' is not valid JSON: Expecting property name"),
        (json.dumps("[" * 100_000), "field 'meta' is not valid JSON: nested too deeply"),
        (json.dumps("9" * 5000), "field 'meta' is not valid JSON: a number of more than 4,300"),
    ],
)
def test_meta_that_no_file_could_hold(tmp_path, meta, message):
    with pytest.raises(InputError, match=message):
        row_of(tmp_path, f'{{{BASE}, "meta": {meta}}}')


def test_null_in_meta_is_absent_where_it_has_a_meaning(tmp_path):
    """A column of objects has each name in each row."""
    meta = {"origin": None, "category": None, "check": None, "x": None}
    assert one(tmp_path, {"prompt": "Q", "completion": "A", "meta": meta}).meta == {
        "origin": "seed",
        "x": None,
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": [1]}, "line 1: field 'id' is a list"),
        ({"input": 1}, "field 'input' is the number 1, not text"),
        ({"response": HALF}, "field 'response' has half a character"),
        ({"finish_reason": []}, "field 'finish_reason' is an empty list, not text"),
        ({"set_aside": 1}, "field 'set_aside' is the number 1, not text"),
        ({"parents": "ab"}, "field 'parents' is not a list of ids"),
        ({"parents": [1]}, "field 'parents' is not a list of ids"),
        ({"parents": [HALF]}, r"field 'parents\[0\]' has half a character"),
        ({"verdicts": {"a": 1}}, "field 'verdicts' is an object, not a list"),
        ({"verdicts": [1]}, r"verdicts\[0\] is not an object with texts"),
        ({"verdicts": [{"name": 1}]}, r"verdicts\[0\] is not an object with texts"),
        ({"verdicts": [{"name": "q", "score": "x"}]}, "'score' is text, no number"),
        ({"verdicts": [{"name": "q", "score": math.nan}]}, r"'verdicts\[0\]\.score' is the number"),
        ({"verdicts": [{"name": "q", "score": 10**400}]}, "'score' is no number that"),
        ({"meta": "[]"}, "field 'meta' is an empty list, not an object"),
        ({"meta": {"a": HALF}}, r"field 'meta\.a' has half a character"),
    ],
)
def test_rows_of_ours_that_were_changed(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        one(tmp_path, {**STORED, **change})


def test_rows_of_ours_need_no_more_than_they_say(tmp_path):
    spare = {
        "verdicts": [{"name": "q", "score": 3}],
        "parents": None,
        "meta": None,
        "set_aside": "",
    }
    row = one(tmp_path, {**STORED, **spare, "id": 3})
    assert (row.id, row.verdicts["q"].score, row.verdicts["q"].text) == ("3", 3, "")
    with pytest.raises(InputError, match="not a whole row of woolgather's: it has no 'input'"):
        one(tmp_path, {k: v for k, v in STORED.items() if k != "input"})


# -- tables -----------------------------------------------------------------------------------------

MOMENT = datetime.datetime(2020, 1, 2, 3, 4, 5, 678)
SPELLED = {
    "timestamp": (pa.array([MOMENT]), "2020-01-02T03:04:05.000678"),
    "zoned": (
        pa.array([MOMENT], pa.timestamp("us", "+01:00")),
        "2020-01-02T04:04:05.000678+01:00",
    ),
    "date": (pa.array([MOMENT.date()]), "2020-01-02"),
    "time": (pa.array([MOMENT.time()]), "03:04:05.000678"),
    "decimal": (pa.array([Decimal("1.10")]), "1.10"),
    "unsigned": (pa.array([2**64 - 1], pa.uint64()), 2**64 - 1),
    "codes": (pa.array(["a"]).dictionary_encode().cast(pa.string()), "a"),
    "list": (pa.array([[1, None]]), [1, None]),
    "map": (pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int32())), {"a": 1}),
    "null": (pa.nulls(1), None),
}
REFUSED = {
    "bytes": (pa.array([b"\xff"]), "is bytes, which JSON does not have. Store it as text"),
    "duration": (pa.array([datetime.timedelta(1)]), "is a timedelta, which JSON does not have"),
    "nan": (pa.array([math.nan]), "is the number nan"),
    "numbered": (
        pa.array([[(1, "a")]], pa.map_(pa.int32(), pa.string())),
        "has a name in it that is the number 1, not text",
    ),
}


def table(tmp_path: Path, **columns: Any) -> Path:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"instruction": ["Q"], "response": ["A"], **columns}), path)
    return path


def struct(column: pa.Array) -> pa.Array:
    return pa.StructArray.from_arrays([column], ["x"])


@pytest.mark.parametrize("kind", SPELLED)
def test_what_json_has_no_value_for_is_read_as_its_text(tmp_path, kind):
    column, value = SPELLED[kind]
    (row,) = read_examples(table(tmp_path, meta=struct(column), other=column))
    assert row.meta == {"origin": "seed", "x": value}
    assert type(row.meta["x"]) is type(value)


@pytest.mark.parametrize("kind", REFUSED)
def test_what_has_no_text_is_refused_by_row_and_field(tmp_path, kind):
    column, message = REFUSED[kind]
    assert [row.meta for row in read_examples(table(tmp_path, other=column))] == [
        {"origin": "seed"}
    ]
    with pytest.raises(InputError, match=rf"row 1: field 'meta\.x' {message}"):
        list(read_examples(table(tmp_path, meta=struct(column))))


def test_texts_of_every_make_and_columns_that_are_no_text(tmp_path):
    coded = pa.array(["Q"]).dictionary_encode()
    (row,) = read_examples(table(tmp_path, instruction=coded, input=pa.nulls(1)))
    assert (row.instruction, row.input) == ("Q", "")
    (row,) = read_examples(table(tmp_path, response=pa.array(["A"], pa.large_string())))
    assert row.response == "A"
    for column, message in (
        (pa.array([b"A"]), "is bytes, not text"),
        (pa.array([MOMENT]), "is the time 2020-01-02 03:04:05.000678, not text"),
        (pa.array([["A"]]), "is a list, not text"),
        (pa.array([{"a": 1}]), "is an object, not text"),
        (pa.array([1]), "is the number 1, not text"),
    ):
        with pytest.raises(InputError, match=rf"row 1: field 'response' {message}"):
            list(read_examples(table(tmp_path, response=column)))


def test_a_text_that_is_not_utf_8_inside_a_table(tmp_path):
    offsets = pa.py_buffer(b"\0\0\0\0\1\0\0\0")
    broken = pa.StringArray.from_buffers(1, offsets, pa.py_buffer(b"\xff"))
    with pytest.raises(InputError, match=r"row 1: here, .* is text that is not UTF-8"):
        list(read_examples(table(tmp_path, response=broken)))


def test_a_moment_that_only_pandas_could_read(tmp_path, monkeypatch):
    path = table(tmp_path, meta=struct(pa.array([1001], pa.timestamp("ns"))))

    def refuse(*_: object, **__: object) -> None:
        raise ValueError("nanoseconds are not safely convertible")

    class Batch:
        to_pylist = refuse

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", lambda *_, **__: iter([Batch()]))
    with pytest.raises(InputError, match=r"row 1: .*cannot be read \(nanoseconds .*as text"):
        list(read_examples(path))


def test_a_uuid_and_what_nobody_knows():
    print_ = UUID("12345678123456781234567812345678")
    assert to_plain(print_, "meta") == str(print_)
    with pytest.raises(ValueError, match="field 'meta' is a object, which JSON does not have"):
        to_plain(object(), "meta")


# -- anything at all --------------------------------------------------------------------------------

TEXTS = ["", " ", "a", "\n", '"', ",", "\t", "\r\n", "é漢😀", "\u2028", "\0", "\ufeff", "x" * 3000]
LEAVES = [None, True, False, 0, -1, 2**53 + 1, 2**63, -(2**70), 0.1, -0.0, 1e300, 5e-324]
ODD = [math.nan, math.inf, HALF, "\udc00a"]


def any_value(rng: random.Random, odd: bool, depth: int = 0) -> Any:
    kind = rng.random()
    if depth < 4 and kind < 0.25:
        return [any_value(rng, odd, depth + 1) for _ in range(rng.randrange(4))]
    if depth < 4 and kind < 0.5:
        return {any_text(rng): any_value(rng, odd, depth + 1) for _ in range(rng.randrange(4))}
    if odd and kind < 0.7:
        return rng.choice(ODD)
    return rng.choice([*LEAVES, any_text(rng)])


def any_text(rng: random.Random) -> str:
    return "".join(rng.choice(TEXTS) for _ in range(rng.randrange(1, 4)))


def spelled(meta: Mapping[str, Any]) -> str:
    """Tells 1 from True and 1.0, and -0.0 from 0.0, which are equal."""
    return json.dumps(dict(meta), sort_keys=True)


def any_row(rng: random.Random, number: int, odd: bool) -> Example:
    """A row as it should come back; with `odd`, it may hold what no file can."""
    meta = {any_text(rng): any_value(rng, odd) for _ in range(rng.randrange(4))}
    said = any_text(rng) + (rng.choice([HALF, ""]) if odd else "")
    return Example(
        id=f"{number}{any_text(rng)}",
        instruction=f"Q{any_text(rng)}",
        input=rng.choice(["", f"I{any_text(rng)}"]),
        response=f"A{said}",
        system=rng.choice(["", any_text(rng)]),
        meta={**meta, "origin": "seed"},
    )


FIELDS = ("id", "instruction", "input", "response", "system")


def written(rows: list[Example], path: Path) -> None:
    """Without a function of ours, as others would."""
    records = [{**{f: getattr(r, f) for f in FIELDS}, "meta": dict(r.meta)} for r in rows]
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        cells = [{**r, "meta": json.dumps(r["meta"])} for r in records]
        pq.write_table(pa.Table.from_pylist(cells), path)
        return
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", encoding="utf-8", newline="") as out:
        if name.endswith("jsonl"):
            out.write("".join(json.dumps(r) + "\n" for r in records))
        elif name.endswith("json"):
            out.write(json.dumps(records))
        else:
            table = csv.writer(out, delimiter="\t" if name.endswith("tsv") else ",")
            table.writerow([*FIELDS, "meta"])
            for r in records:  # a NUL in a table makes it a binary file
                cells = [r[f].replace("\0", "") for f in FIELDS]
                table.writerow([*cells, json.dumps(r["meta"])])


def outcome(path: Path, store: Path) -> Iterator[tuple[Example, str]]:
    """Rows as they are read, and once more as they come out of the store. Raises InputError."""
    rows = list(read_examples(path))
    assert list(write_rows(rows, store, "example")) == rows
    for row, again in zip(rows, read_rows(store), strict=True):
        same = row == again and spelled(row.meta) == spelled(again.meta)
        yield row, "" if same else f"{again}"


def attempted(path: Path, store: Path) -> tuple[list[tuple[Example, str]], str]:
    """The rows, or the message of what is wrong with them."""
    try:
        return list(outcome(path, store)), ""
    except InputError as error:
        return [], str(error)


ENDINGS = ["jsonl", "json", "csv", "tsv", "parquet", "jsonl.gz", "json.gz", "csv.gz"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_rows_of_any_content_come_back_the_same_or_are_refused(tmp_path, ending):
    rng = random.Random(ending)
    refused = 0
    for attempt in range(60):
        odd = attempt % 3 == 0
        rows = [any_row(rng, n, odd) for n in range(rng.randrange(1, 6))]
        path = tmp_path / f"f{attempt}.{ending}"
        try:
            written(rows, path)
        except UnicodeEncodeError:  # half a character in a table: nobody can write one
            continue
        found, error = attempted(path, tmp_path / f"s{attempt}")
        if error:
            assert odd, error
            assert error.startswith(f"{path}, ")
            assert " field " in error
            refused += 1
            continue
        for row, (read, changed) in zip(rows, found, strict=True):
            assert not changed
            texts = [getattr(row, f) for f in FIELDS]
            if ending.startswith(("csv", "tsv")):
                texts = [text.replace("\0", "") for text in texts]
            assert [getattr(read, f) for f in FIELDS] == texts
            assert spelled(read.meta) == spelled(row.meta)
    assert refused


def test_the_deepest_that_is_read_is_stored(tmp_path):
    value: Any = 1
    for _ in range(DEEPEST - 1):
        value = [value]
    path = file(tmp_path, "d.jsonl", [{"prompt": "Q", "completion": "A", "meta": {"x": value}}])
    ((row, changed),) = outcome(path, tmp_path / "store")
    assert not changed
    assert row.meta["x"] == value
    assert FULL.meta  # rows of ours go the same way
