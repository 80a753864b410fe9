import json
from dataclasses import replace
from pathlib import Path

import pytest

import woolgather.core.storage as storage
from woolgather.core.artifacts import Dataset
from woolgather.core.rows import Example, PreferencePair, Verdict
from woolgather.core.storage import (
    digest,
    from_record,
    publish,
    read_rows,
    schema,
    to_record,
    write_json,
    write_rows,
)

FULL = Example(
    id="step-3",
    instruction="Sort\u2028 these 😀",
    input="b\0a",
    response="\n a\tb ",
    system="S",
    finish_reason="length",
    verdicts={"quality": Verdict(9.5, "good"), "following": Verdict(None, "?")},
    parents=("p1", "p2"),
    set_aside="echo",
    meta={"sample": 0, "check": [{"kind": "exact", "any": ["é"]}], "none": None, "x": 0.1},
)
EMPTY = Example(instruction="")
PAIR = PreferencePair(
    id="q", instruction="Q", chosen="a", rejected="b", system="S", parents=("p",), meta={"k": [1]}
)


def example(i: int) -> Example:
    return Example(id=f"r{i}", instruction=f"Q{i}", response="A" * (i % 7))


@pytest.mark.parametrize("row", [FULL, EMPTY, PAIR, replace(PAIR, set_aside="equal")])
def test_a_row_comes_back_as_it_was(tmp_path, row):
    kind = "pair" if isinstance(row, PreferencePair) else "example"
    assert from_record(to_record(row)) == row
    assert list(write_rows([row], tmp_path / "new" / "step", kind)) == [row]
    assert list(read_rows(tmp_path / "new" / "step")) == [row]


def test_rows_are_passed_on_and_come_back_in_order(tmp_path):
    rows = [example(i) for i in range(3 * storage.ROW_GROUP + 5)]
    assert list(write_rows(iter(rows), tmp_path, "example")) == rows
    assert list(read_rows(tmp_path)) == rows
    assert [p.name for p in tmp_path.iterdir()] == ["part-00000.parquet"]


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 20, 25])
def test_shards(tmp_path, monkeypatch, count):
    monkeypatch.setattr(storage, "SHARD_ROWS", 10)
    monkeypatch.setattr(storage, "ROW_GROUP", 4)
    rows = [example(i) for i in range(count)]
    assert list(write_rows(rows, tmp_path, "example")) == rows
    shards = sorted(p.name for p in tmp_path.iterdir())
    assert shards == [f"part-{i:05d}.parquet" for i in range(max(1, -(-count // 10)))]
    assert list(read_rows(tmp_path)) == rows


def test_the_same_rows_are_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        assert len(list(write_rows([FULL, EMPTY], tmp_path / name, "example"))) == 2
    assert digest(tmp_path / "one") == digest(tmp_path / "two")


def test_a_writer_that_fails_leaves_whole_shards_only(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "SHARD_ROWS", 10)

    def rows():
        yield from map(example, range(15))
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        list(write_rows(rows(), tmp_path, "example"))
    assert [p.name for p in tmp_path.iterdir()] == ["part-00000.parquet"]
    assert list(read_rows(tmp_path)) == [example(i) for i in range(10)]


def test_a_writer_that_is_abandoned_leaves_no_part(tmp_path):
    stream = write_rows(map(example, range(9)), tmp_path, "example")
    assert next(stream) == example(0)
    assert (tmp_path / ".part.tmp").exists()
    stream.close()
    assert not list(tmp_path.iterdir())


def test_the_schema_does_not_depend_on_the_data(tmp_path):
    import pyarrow.parquet as pq

    for name, rows in (("none", []), ("bare", [EMPTY]), ("full", [FULL])):
        assert len(list(write_rows(rows, tmp_path / name, "example"))) == len(rows)
        found = pq.read_schema(tmp_path / name / "part-00000.parquet")
        assert found.equals(schema("example"))
        assert found.metadata[b"woolgather"] == b"example"
    assert schema("pair").names != schema("example").names


def test_a_plain_reader_sees_plain_columns(tmp_path):
    import pyarrow.parquet as pq

    assert len(list(write_rows([FULL], tmp_path, "example"))) == 1
    (record,) = pq.read_table(tmp_path / "part-00000.parquet").to_pylist()
    assert record["verdicts"] == [
        {"name": "following", "score": None, "text": "?"},
        {"name": "quality", "score": 9.5, "text": "good"},
    ]
    assert json.loads(record["meta"]) == FULL.meta
    assert record["parents"] == ["p1", "p2"]


def test_a_dataset_shows_rows_in_use_and_keeps_the_others(tmp_path):
    rows = [example(0), replace(example(1), set_aside="echo"), example(2)]
    assert len(list(write_rows(rows, tmp_path, "example"))) == 3
    dataset = Dataset(tmp_path, "f", count=2)
    assert list(dataset) == [rows[0], rows[2]]
    assert list(dataset.rows()) == rows
    assert len(dataset) == 2


def test_reading_a_directory_without_shards(tmp_path):
    assert list(read_rows(tmp_path)) == []


def test_json_is_whole_or_not_there(tmp_path):
    path = tmp_path / "record.json"
    write_json(path, {"é": [1, None]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"é": [1, None]}
    with pytest.raises(TypeError):
        write_json(path, {"x": object()})
    assert json.loads(path.read_text(encoding="utf-8")) == {"é": [1, None]}
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


def test_half_a_character_is_spelled_in_json(tmp_path):
    """Names of files that are not UTF-8 have such, and stand in settings and messages."""
    write_json(tmp_path / "a.json", {"seeds": "caf\udce9"})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert r"caf\udce9" in text
    assert json.loads(text) == {"seeds": "caf\udce9"}


def test_two_programs_write_one_file_and_neither_stumbles(tmp_path, monkeypatch):
    """The other program publishes between this one's writing and its publishing."""
    path, publish = tmp_path / "shared.json", storage.publish

    def publish_later(temp: Path, target: Path) -> None:
        monkeypatch.setattr(storage, "publish", publish)
        monkeypatch.setattr(storage.os, "getpid", lambda: 1)
        storage.write_shared_json(path, {"other": 1})
        publish(temp, target)

    monkeypatch.setattr(storage, "publish", publish_later)
    storage.write_shared_json(path, {"mine": 1})
    assert json.loads(path.read_text()) == {"mine": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["shared.json"]


def test_publishing_replaces(tmp_path):
    old, new = tmp_path / "a", tmp_path / "b.tmp"
    old.write_text("old")
    new.write_text("new")
    publish(new, old)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a", "new")]
    with pytest.raises(FileNotFoundError):
        publish(new, old)
    assert old.read_text() == "new"


def fill(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_digests(tmp_path):
    import hashlib

    base = {"a": "1", "sub/b": "2"}
    one = fill(tmp_path / "one", base)
    assert digest(one / "a") == hashlib.sha256(b"1").hexdigest()
    assert digest(one) == digest(fill(tmp_path / "two", base))
    variants = [
        {"a": "1", "sub/b": "3"},
        {"a": "1", "sub/c": "2"},
        {"a": "1", "b": "2"},
        {**base, "c": ""},
        {"a": "2", "sub/b": "1"},
    ]
    found = {digest(fill(tmp_path / f"v{i}", files)) for i, files in enumerate(variants)}
    assert len(found | {digest(one)}) == 6


def test_a_model_from_outside_has_the_digest_of_its_directory(tiny_model, tmp_path, monkeypatch):
    """Hashed once and remembered by file, and the same as of the directory as a whole."""
    from woolgather.models.open import open_model

    monkeypatch.setenv("WOOLGATHER_CACHE", str(tmp_path))
    assert open_model(str(tiny_model)).digest == digest(tiny_model)
    assert open_model(str(tiny_model)).digest == digest(tiny_model)
