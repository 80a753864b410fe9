"""Whole inputs in published layouts: folders, packed and cut files, names of the hub."""

import json
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.errors import InputError
from woolgather.core.rows import PreferencePair
from woolgather.data import read_examples, read_pairs

from .shared import file, rows_of, seed, spin


def test_two_layouts_in_one_folder_are_refused_and_by_name_they_are_read(tmp_path):
    file(tmp_path, "a.jsonl", [seed(0)])
    file(tmp_path, "b.jsonl", [spin(0)])
    with pytest.raises(InputError) as caught:
        list(read_examples(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path / 'b.jsonl'}, line 1: is of layout spin, and the files before it in {tmp_path} are "
        "humback-rows. Give one layout at a time: the files by name, with commas between them, or a "
        "folder for each."
    )
    both = f"{tmp_path / 'a.jsonl'}, {tmp_path / 'b.jsonl'}"
    for source in (both, [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]):
        assert [r.response for r in rows_of(source)[0]] == ["People 0.", "people 0"]


def test_rows_of_several_files_of_one_name_have_ids_of_their_own(tmp_path):
    paths = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        paths.append(file(tmp_path / name, "train.jsonl", [spin(len(name) + len(paths))]))
    assert [row.id for row in read_examples(paths)] == ["train-1", "two-train-1"]
    assert [pair.id for pair in read_pairs(paths)] == ["train-1", "two-train-1"]


@pytest.mark.parametrize("cut", ["jsonl", "json", "gz", "parquet"])
def test_a_shard_that_is_cut_in_the_middle_is_said(tmp_path: Path, cut: str) -> None:
    import gzip

    import pyarrow as pa
    import pyarrow.parquet as pq

    text = "".join(json.dumps(spin(n)) + "\n" for n in range(300))
    path = tmp_path / f"loser_0.{'jsonl.gz' if cut == 'gz' else cut}"
    if cut == "parquet":
        pq.write_table(pa.Table.from_pylist([spin(n) for n in range(300)]), path)
        whole = path.read_bytes()
    elif cut == "json":
        whole = json.dumps([spin(n) for n in range(300)]).encode()
    else:
        whole = gzip.compress(text.encode()) if cut == "gz" else text.encode()
    path.write_bytes(whole[: len(whole) // 2])
    message = {
        "jsonl": r"line \d+: not valid JSON: .*The file ends in the middle of this record\. Get it",
        "json": r"line 1: not valid JSON: .*The file ends in the middle of this record\. Get it",
        "gz": r"loser_0\.jsonl\.gz: is not a complete gzip file .*Get it again",
        "parquet": "is not a complete Parquet file",
    }[cut]
    with pytest.raises(InputError, match=message):
        list(read_pairs(path))


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv"])
def test_packed_files_are_read_as_they_are(tmp_path: Path, suffix: str) -> None:
    import gzip

    line = {"instruction": "Q", "output": "A"}
    texts = {
        "jsonl": json.dumps(line),
        "json": json.dumps([line], indent=1),
        "csv": "instruction,output\nQ,A\n",
    }
    path = tmp_path / f"seeds.{suffix}.gz"
    path.write_bytes(gzip.compress(texts[suffix].encode()))
    for source in (path, tmp_path):
        (row,) = read_examples(source)
        assert (row.instruction, row.response) == ("Q", "A")
        assert row.id == {"jsonl": "seeds-1", "json": "seeds-2", "csv": "seeds-2"}[suffix]
    (tmp_path / f"seeds.{suffix}").write_text(texts[suffix])
    rows, _, told = rows_of(tmp_path)
    assert len(rows) == 1
    assert told == [f"{tmp_path}: left out {path.name}: it is there unpacked"]


def test_a_data_set_of_the_hub_gives_its_training_split(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked: list[Any] = []

    def load(repo: str, **how: Any) -> Any:
        asked.append((repo, how))
        return [spin(0)]

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert [row.response for row in rows_of("UCLA-AGI/SPIN_iter0@v1")[0]] == ["people 0"]
    assert list(read_pairs("UCLA-AGI/SPIN_iter0")) == [
        PreferencePair(
            id="SPIN_iter0-1",
            instruction="Question 0?",
            chosen="people 0",
            rejected="machine 0",
            meta={"origin": "seed"},
        )
    ]
    assert asked[0] == (
        "UCLA-AGI/SPIN_iter0",
        {"split": "train", "revision": "v1", "streaming": True},
    )


def test_a_name_that_the_hub_does_not_know_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    class DatasetNotFoundError(Exception):
        pass

    def load(repo: str, **how: Any) -> Any:
        raise DatasetNotFoundError(f"Dataset '{repo}' doesn't exist on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(InputError) as caught:
        list(read_examples("UCLA-AGI/SPIN_iterO"))
    assert str(caught.value).startswith(
        "UCLA-AGI/SPIN_iterO: no file or folder here, and the hub has no data set of this name"
    )


def test_what_may_be_a_path_is_not_looked_for_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets, "load_dataset", None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    file(tmp_path / "data", "seeds.jsonl", [seed(0)])
    with pytest.raises(
        InputError, match=r"data/seed: no such file\. Did you mean data/seeds\.jsonl"
    ):
        list(read_examples("data/seed"))
    with pytest.raises(InputError, match=r"other/seeds\.jsonl: no such file"):
        list(read_examples("other/seeds.jsonl"))
