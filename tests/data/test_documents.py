"""Documents from files, folders, tables and a data set: what comes out, and what is refused how."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.errors import InputError
from woolgather.data import documents as text_files
from woolgather.data import read_examples
from woolgather.models import digests as inputs
from woolgather.runs.inputs import open_texts


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WOOLGATHER_CACHE", str(tmp_path / "cache"))


def read(source: Any, **where: Any) -> list[tuple[str, str]]:
    return [(d.source, d.text) for d in open_texts(source, **where)]


def fault(source: Any, **where: Any) -> str:
    with pytest.raises(InputError) as found:
        read(source, **where)
    assert "\n" not in str(found.value), "one clear message"
    return str(found.value)


def test_a_folder_is_read_through_in_order_of_name(tmp_path: Path) -> None:
    root = tmp_path / "texts"
    (root / "deep" / ".hidden").mkdir(parents=True)
    (root / "b.txt").write_text("second\n\nfile")
    (root / "a.md").write_text("# first\n")
    (root / "deep" / "c.jsonl").write_text('{"text": "third"}\n\n{"text": null}\n')
    (root / "deep" / ".hidden" / "d.txt").write_text("not this")
    (root / "picture.png").write_bytes(b"\x89PNG\0")
    assert read(root) == [
        ("a.md", "# first\n"),
        ("b.txt", "second\n\nfile"),
        ("deep/c.jsonl, line 1", "third"),
        ("deep/c.jsonl, line 3", ""),
    ]


def test_of_several_columns_the_first_that_a_record_has_is_read(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"content": ["one"], "junk": [[1]]}), path)
    lines = tmp_path / "u.jsonl"
    lines.write_text('{"text": "two"}\n{"text": "no", "content": "three"}\n{"body": ""}\n')
    either = ("content", "text")
    assert read(path, column=either) == [("t.parquet, row 1", "one")]
    said = fault(lines, column=either)
    assert "line 3: no column 'content' or 'text'" in said
    lines.write_text("\n".join(lines.read_text().splitlines()[:2]))
    assert [text for _, text in read(lines, column=either)] == ["two", "three"]


def test_a_column_of_parquet_is_read_alone(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"body": ["one", "two"], "junk": [[1], [2]]}), path)
    assert read(path, column="body") == [("t.parquet, row 1", "one"), ("t.parquet, row 2", "two")]
    said = fault(path)
    assert "t.parquet, row 1" in said
    assert "there are: body, junk" in said
    assert "text.column=" in said


def test_a_json_array_and_a_table_of_commas(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('["one", {"text": "two"}]')
    (tmp_path / "b.csv").write_text('id,text\n1,"three, and\nmore"\n')
    assert [text for _, text in read(tmp_path / "a.json")] == ["one", "two"]
    assert [text for _, text in read(tmp_path / "b.csv")] == ["three, and\nmore"]


def test_packed_texts_are_read_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"text": "one"}\n{"text": "two"}\n'))
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"three\n"))
    assert [text for _, text in read(tmp_path)] == ["one", "two", "three\n"]
    whole = (tmp_path / "a.jsonl.gz").read_bytes()
    (tmp_path / "a.jsonl.gz").write_bytes(whole[:20])
    assert "is not a complete gzip file" in fault(tmp_path / "a.jsonl.gz")


def test_a_long_text_file_comes_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "PIECE", 20)
    path = tmp_path / "book.txt"
    path.write_text("one two three four\nfive six\n\nseven eight\n\nnine")
    assert read(path) == [
        ("book.txt", "one two three four\nfive six\n\n"),
        ("book.txt, line 4", "seven eight\n\nnine"),
    ]


def test_an_unknown_encoding_names_the_line_and_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "old.txt"
    path.write_bytes("first line\ncaf\xe9 au lait".encode("latin-1"))
    said = fault(path)
    assert "old.txt, line 2" in said
    assert "byte 4 is not UTF-8" in said
    assert "Save the file as UTF-8" in said
    (tmp_path / "wide.txt").write_bytes("text".encode("utf-16"))
    assert "UTF-16" in fault(tmp_path / "wide.txt")


def test_binary_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(b"\x00\x01\x02" * 100)
    assert "binary" in fault(tmp_path / "t.txt")
    (tmp_path / "z.txt").write_bytes(b"PK\x03\x04" + b"a" * 100)
    assert "unpack an archive" in fault(tmp_path / "z.txt")


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_nothing_in_it(tmp_path: Path, content: str) -> None:
    path = tmp_path / "t.txt"
    path.write_text(content)
    with pytest.raises(InputError, match="there is no text in it"):
        open_texts(path)  # before anything is made for them
    (tmp_path / "none").mkdir()
    assert "no file in it ends in .txt" in fault(tmp_path / "none")
    assert "no such file or folder" in fault(tmp_path / "missing.txt")


def test_one_line_of_fifty_megabytes(tmp_path: Path) -> None:
    path = tmp_path / "line.txt"
    path.write_bytes(b"word " * 10_000_000)
    said = fault(path)
    assert "line.txt, line 1" in said
    assert "more than 16 MiB" in said
    row = tmp_path / "line.jsonl"
    row.write_bytes(b'{"text": "' + b"word " * 10_000_000 + b'"}\n')
    assert "line.jsonl, line 1" in fault(row)


def test_a_text_in_parquet_that_is_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"text": ["word", "word " * 1000]}), path)
    monkeypatch.setattr(text_files, "LONGEST", 4000)
    assert "t.parquet, row 2: a text of 5,000 characters, and 4,000 is the" in fault(path)


def test_identity_is_content_and_column(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        (folder / "a.txt").write_text("the same")
    assert open_texts(one).fingerprint == open_texts(two).fingerprint
    assert open_texts(one).fingerprint != open_texts(one, column="body").fingerprint
    (two / "a.txt").write_text("another")
    assert open_texts(one).fingerprint != open_texts(two).fingerprint


def test_what_did_not_change_is_not_hashed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("text")
    first = open_texts(tmp_path / "a.txt").fingerprint
    monkeypatch.setattr(inputs, "digest", lambda path: pytest.fail("hashed again"))
    assert open_texts(tmp_path / "a.txt").fingerprint == first


def test_a_data_set_of_the_hub_is_streamed_by_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    rows = [{"text": f"document {i}", "url": "x"} for i in range(5)]
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    real, asked = datasets.load_dataset, []

    def here(repo: str, name: Any = None, **how: Any) -> Any:
        asked.append((repo, name, how.pop("revision")))
        return real(str(tmp_path), name, **how)

    monkeypatch.setattr(datasets, "load_dataset", here)
    commit = "0123456789abcdef0123456789abcdef01234567"
    texts = open_texts(f"some/corpus@{commit}")
    assert next(iter(texts)).text == "document 0"
    assert [d.source for d in texts][-1] == "some/corpus, row 5"
    assert asked[0] == ("some/corpus", None, commit)
    other = open_texts(f"some/corpus@{commit}", split="test")
    assert other.fingerprint != texts.fingerprint


def test_a_data_set_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    class Nowhere:
        def dataset_info(self, *args: Any, **settings: Any) -> Any:
            raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub, "HfApi", Nowhere)
    said = fault("some/corpus")
    assert "no file or folder here, and the hub cannot be reached (ConnectionError)" in said
    assert "Or give files." in said


def test_half_a_character_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text": "\\ud83d"}\n')
    assert "a.jsonl, line 2: the text has half a character at 1" in fault(tmp_path / "a.jsonl")


def test_a_name_that_is_not_utf_8_is_spelled(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.jsonl")
    path.write_text('{"text": "a"}\n')
    assert read(path) == [(r"caf\udce9.jsonl, line 1", "a")]
    path.write_text('{"prompt": "Q", "completion": "A"}\n')
    assert [row.id for row in read_examples(path)] == [r"caf\udce9-1"]
