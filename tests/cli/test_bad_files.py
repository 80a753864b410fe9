"""Files that are cut, mixed or not there: one sentence that names the file and the remedy, before a run.

Each case goes through the entry point, as a shell sees it.
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

Said = Callable[..., str]
GOOD = '{"instruction": "Say yes.", "input": "", "response": "Yes."}\n'
DAMAGED = [
    ("two layouts", r"two layouts/b\.jsonl, line 1: is of layout spin, and the files before it in"),
    ("cut", r"cut/train-1\.jsonl, line 20: not valid JSON: .* ends in the middle of this record"),
    ("cut.jsonl.gz", r"cut\.jsonl\.gz: is not a complete gzip file .*Get it again"),
    ("cut.parquet", r"cut\.parquet: is not a complete Parquet file .*Get it again"),
    ("cut.csv", r"cut\.csv, line 3: not a table: unexpected end of data\. Close each quote"),
    ("odd.jsonl", r"odd\.jsonl, line 1: field 'meta\.score' is the number nan.*leave it out"),
]


@pytest.fixture
def damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders and files that lack something, in the folder where the command is given."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.chdir(tmp_path)
    for name in ("two layouts", "cut"):
        Path(name).mkdir()
    turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
    Path("two layouts/a.jsonl").write_text(GOOD)
    Path("two layouts/b.jsonl").write_text(json.dumps({"real": turns, "generated": turns}))
    Path("cut/train-0.jsonl").write_text(20 * GOOD)
    Path("cut/train-1.jsonl").write_text((20 * GOOD)[:-9])
    rng = random.Random(0)
    texts = "".join(GOOD.replace("Yes.", rng.randbytes(99).hex()) for _ in range(200))
    Path("cut.jsonl.gz").write_bytes(gzip.compress(texts.encode())[:5000])
    pq.write_table(pa.table({"prompt": ["Q"], "completion": ["A"]}), "whole.parquet")
    Path("cut.parquet").write_bytes(Path("whole.parquet").read_bytes()[:-40])
    Path("cut.csv").write_text('instruction,response\nQ,A\nR,"B')
    Path("odd.jsonl").write_text(GOOD[:-2] + ', "meta": {"score": NaN}}\n')


@pytest.mark.parametrize(("source", "message"), DAMAGED)
@pytest.mark.usefixtures("damaged")
def test_files_that_lack_something(said: Said, source: str, message: str) -> None:
    found = said("plan", "isheep", "--engine", "fake", f"seeds={source}")
    assert re.search(message, found), found


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("isheep", "seeds=[whole.parquet, none.jsonl]"), "none.jsonl: no such file."),
        (("isheep", "seeds=whole.parquet", "seeds=none.jsonl"), "none.jsonl: no such file."),
        (("isheep", "seeds=[whole.parquet, '']"), "an empty name in the list [whole.parquet, '']"),
        (
            ("isheep", "seeds=[2020-01-01]"),
            "seeds: a file, a folder or a list of them belongs here",
        ),
        (("humback", "texts=[whole.parquet, none.txt]"), "texts=none.txt: no such file"),
        (("dromedary", "prompts=[whole.parquet, none.txt]"), "none.txt: no such file."),
        (("isheep", "--given", "iter0/keep=whole.parquet,none.jsonl"), "none.jsonl: no such file."),
        (
            ("isheep", "--given", "select=a.jsonl", "--given", "select=b.jsonl"),
            "--given select: given twice. Name several places with commas between them: "
            "--given select=a.jsonl,b.jsonl",
        ),
    ],
)
@pytest.mark.usefixtures("damaged")
def test_one_of_several_places_that_is_not_there(
    said: Said, words: tuple[str, ...], message: str
) -> None:
    found = said("plan", *words, "--engine", "fake")
    assert message in found


def test_a_settings_file_that_is_not_utf_8(said: Said, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"iterations: 1\nseeds: caf\xe9\n")
    found = said("plan", "isheep", "--engine", "fake", "-c", path)
    assert found == f"settings file {path}, line 2: not UTF-8. Save the file as UTF-8."
