"""`prepare`: a file of rows, a table of counts beside the paper's, mistakes said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from woolgather.core.errors import ConfigError, InputError
from woolgather.data import read_examples

Call = Callable[..., Any]


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    path = tmp_path / "talks.jsonl"
    turns = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    path.write_text("".join(json.dumps({"messages": turns}) + "\n" for _ in range(4)))
    return path


def test_counts_stand_beside_the_papers(told: Call, talks: Path, tmp_path: Path) -> None:
    out = tmp_path / "pairs.parquet"
    found = told("prepare", "ultrachat", talks, "--out", out, "--rows", 3)
    assert (found["rows"], found["out"]) == (3, str(out))
    last = found["filters"][-1]
    assert (last["before"], last["after"], last["paper"]) == (4, 3, 50_000)
    assert all(line["why"] for line in found["filters"])
    assert len(list(read_examples(out))) == 3


def test_the_table_names_filters_and_reasons(
    call: Callable[..., Result], talks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = call("prepare", "ultrachat", talks).output
    assert "asked and answered" in shown
    assert "50,000" in shown
    assert "in the paper" in shown
    assert "4 rows: ultrachat.jsonl" in shown
    assert len(list(read_examples(tmp_path / "ultrachat.jsonl"))) == 4


def test_the_lengths_of_seeds_stand_beside_those_that_were_published(
    call: Callable[..., Result], told: Call, tmp_path: Path
) -> None:
    asked = {"role": "prompter", "lang": "en", "labels": {"quality": {"value": 0.9}}}
    tree = {"message_id": "a", "text": "How is it that one asks this?", **asked}
    reply = {**tree, "message_id": "b", "text": "By asking it once, and then again.", "rank": 0}
    source = tmp_path / "trees.jsonl"
    source.write_text(json.dumps({"prompt": {**tree, "replies": [reply]}}) + "\n")
    words = ("prepare", "oasst1", source, "--rule", "unofficial", "--out", tmp_path / "s.jsonl")
    found = told(*words)
    assert [one["what"] for one in found["lengths"]] == ["instruction", "response"]
    assert found["lengths"][1]["paper"] == [1184.0, 799.0]
    assert "response: 34 ± 0 characters; published: 1184 ± 799" in call(*words).output


def test_of_several_sources_some_may_be_given_by_name(told: Call, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text(
        json.dumps({"instruction": "Why is it so?", "context": "", "category": "open_qa"}) + "\n"
    )
    out = tmp_path / "p.jsonl"
    found = told("prepare", "dromedary2-prompts", f"dolly={tmp_path / 'd.jsonl'}", "--out", out)
    assert found["rows"] == 1
    assert {line["source"] for line in found["filters"]} == {"dolly"}
    assert [row.instruction for row in read_examples(out, needs_response=False)] == [
        "Why is it so?"
    ]


def test_a_tokenizer_counts_the_prompts(told: Call, tmp_path: Path, tiny_model: Path) -> None:
    source = tmp_path / "d.jsonl"
    lines = [{"instruction": "x" * n, "context": "", "category": "open_qa"} for n in (20, 2000)]
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ("prepare", "dromedary2-prompts", f"dolly={source}", "--out", tmp_path / "p.jsonl")
    assert told(*words)["rows"] == 0  # one word each
    found = told(*words, "--tokenizer", tiny_model)
    assert found["rows"] == 1
    assert "2 to 256 tokens" in [line["filter"] for line in found["filters"]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["oast1"], "Did you mean oasst1?"),
        (["zzz"], "Known: oasst1, refinedweb"),
        (["oasst1", "--rule", "papers"], "--rule papers: has to be paper or unofficial"),
        (["refinedweb", "--blank-lines", "no"], "--blank-lines no: has to be drop or keep"),
        (["oasst1", "x.jsonl", "--out", "seeds.csv"], r"--out seeds.csv: .*\.jsonl or \.parquet"),
        (["dromedary2-prompts", "folder"], "write NAME=PATH, the name one of sharegpt, dolly"),
        (["oasst1", "a.jsonl", "b.jsonl"], "oasst1 is named twice"),
    ],
)
def test_mistakes_are_said(call: Call, words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        call("prepare", *words)
    assert caught.value.exit_code == 2


def test_a_source_that_is_not_there_writes_nothing(call: Call, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        call("prepare", "oasst1", tmp_path / "no.jsonl", "--out", tmp_path / "s.jsonl")
    assert list(tmp_path.iterdir()) == []
