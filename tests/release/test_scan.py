"""What must not leave this machine is found, in our files and in rows, and what is nobody's is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from woolgather.core.errors import InputError
from woolgather.core.rows import Example, Verdict
from woolgather.core.storage import write_rows
from woolgather.release.folder import write_release
from woolgather.release.scan import Scanner
from woolgather.report.lineage import find_step

HUB_TOKEN = "hf_" + "a" * 34


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (f"token: {HUB_TOKEN}", "a token of the Hugging Face hub"),
        ("sk-" + "x1" * 12, "an API key"),
        ("ghp_" + "Z" * 36, "a token of GitHub"),
        ("AKIA" + "A1B2" * 4, "a key of AWS"),
        ("-----BEGIN RSA PRIVATE KEY-----", "a private key"),
        ("seeds: /home/ann/seeds.jsonl", "a path of this machine"),
        ("'/Users/ann/x'", "a path of this machine"),
        (r"C:\Users\ann\x", "a path of this machine"),
        ('{"path": "/mnt/disk/model"}', "a path of this machine"),
        ("/scratch/ann", "a path of this machine"),
    ],
)
def test_it_is_found(text: str, what: str) -> None:
    [(at, said, shown)] = Scanner().scan_text(f"first\n{text}\n")
    assert said == what
    assert at >= len("first\n")
    assert HUB_TOKEN not in shown


@pytest.mark.parametrize(
    "text",
    [
        "https://huggingface.co/home/ann",
        "and/or, 1/2, n/a, /home/, the hf_hub_download function",
        "ask-the-oracle-about-the-meaning-of-life",
        "../data/rows.jsonl",
        "iter0/keep/train.parquet",
        "a database at /database/x",
    ],
)
def test_it_is_nothing(text: str) -> None:
    assert list(Scanner([Path("/database/run")]).scan_text(text)) == []


def test_a_text_of_a_model_may_speak_of_somebodys_home(tmp_path: Path) -> None:
    scanner = Scanner([tmp_path])
    assert list(scanner.scan_text("cd /home/user && ls /tmp", written=True)) == []
    assert len(list(scanner.scan_text(f"cd {tmp_path}/x", written=True))) == 1


def test_the_value_of_a_secret_variable_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "correct horse battery")
    [(_, what, shown)] = Scanner().scan_text("it is correct horse battery", written=True)
    assert what == "the value of MY_API_KEY"
    assert shown == "corr…"


def test_rows_are_looked_through(tmp_path: Path) -> None:
    rows = [
        Example(instruction="fine", id="0"),
        Example(instruction="x", response=f"use {HUB_TOKEN}", id="1"),
        Example(instruction="x", id="2", verdicts={"quality": Verdict(1, "sk-" + "q" * 30)}),
        Example(instruction="x", id="3", meta={"source": "/home/ann/texts/a.txt"}),
    ]
    list(write_rows(rows, tmp_path, "example"))
    found = [each.place for each in Scanner().scan_folder(tmp_path)]
    name = "part-00000.parquet"
    assert found == [
        f"{name}, row 2, response",
        f"{name}, row 3, verdict quality",
        f"{name}, row 4, meta.source",
    ]


def test_a_release_that_holds_any_is_refused(fake_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(fake_run, tmp_path / "run", symlinks=True)
    folder, record = find_step(run, "iter0/train-merge")
    note = folder / str(record.result["path"]) / "notes.txt"
    note.write_text(f"one\ntwo {run / 'iter0'}\n")
    with pytest.raises(InputError, match=r"models/iter0/notes.txt, line 2: a path of this machine"):
        write_release(run, tmp_path / "out", "ann/sheep", ["iter0"])


def test_weights_and_vocabularies(tmp_path: Path) -> None:
    """Weights are no text; a vocabulary holds pieces of texts that nobody of this machine wrote."""
    (tmp_path / "model.safetensors").write_bytes(b"\0" + HUB_TOKEN.encode())
    (tmp_path / "tokenizer.json").write_text('{"/home/user": 1}')
    assert list(Scanner().scan_folder(tmp_path)) == []
    (tmp_path / "tokenizer_config.json").write_text('{"/home/user": 1}')
    [found] = Scanner().scan_folder(tmp_path)
    assert str(found) == "tokenizer_config.json, line 1: a path of this machine (/home/user)"
