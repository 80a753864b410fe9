"""The questions of the second Dromedary, from small records in the layouts of their four sources."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.errors import InputError
from woolgather.prepare.residue import strip_residue

from .shared import message, prepared, save


def share(id_: str, *turns: tuple[str, str]) -> dict[str, Any]:
    return {"id": id_, "conversations": [{"from": f, "value": v} for f, v in turns]}


@pytest.fixture
def four(tmp_path: Path) -> dict[str, Path]:
    sharegpt = [
        share("aa_0", ("human", "  how are\u200b you?\r\n\r\n\r\n\r\nTell me. "), ("gpt", "Fine.")),
        share("aa_7", ("human", "and then what happened?"), ("gpt", "More.")),
        share("bb_0", ("gpt", "I go first."), ("human", "oh well then")),
        share("cc_0"),
        share("dd_0", ("human", "word"), ("gpt", "One word.")),
        share("ee_0", ("human", "word " * 257), ("gpt", "Long.")),
        share("ff_0", ("human", "12 + 30 = ?"), ("gpt", "42")),
        share("gg_0", ("human", "how are you?\n\nTell me."), ("gpt", "Again.")),
        share("hh_0", ("human", "nobody ever answered this")),
    ]
    dolly = {"context": "", "response": "White"}
    orca = {"system_prompt": "You are verbose.", "response": "ok"}
    asked = {
        "niv.1": "how are you?\n\nTell me.",
        "niv.2": "Premise: he sleeps. Hypothesis: he rests. Why?",
        "flan.1": "Why though?",
        "flan.2": "Why not so?",
        "cot.1": "What is it: yes, no, or it is not possible to tell?",
        "t0.1": "When is it?",
    }
    (tmp_path / "sg.json").write_text(json.dumps(sharegpt))
    orcas = [{**orca, "id": name, "question": text} for name, text in asked.items()]
    save(tmp_path / "orca" / "1M-GPT4-Augmented.parquet", orcas)
    late = [{**orca, "id": "flan.9", "question": "Who asked this?"}]
    save(tmp_path / "orca" / "3_5M-GPT3_5-Augmented.parquet", late)
    return {
        "sharegpt": tmp_path / "sg.json",
        "dolly": save(
            tmp_path / "d.jsonl",
            [
                {"instruction": "Name the colour.", **dolly, "category": "open_qa"},
                {"instruction": "Sum it up.", **dolly, "context": "x", "category": "summarization"},
            ],
        ),
        "openassistant": save(
            tmp_path / "oa.parquet",
            [
                message("a", "Wie geht es dir?", lang="de"),
                message("a0", parent="a"),
                message("b", "Nobody replies to me."),
            ],
        ),
        "openorca": tmp_path / "orca",
    }


def test_dromedary2_prompts_are_cleaned_bounded_and_once(four: dict[str, Path]) -> None:
    rows, counts = prepared("dromedary2-prompts", four)
    assert [row.instruction for row in rows] == [
        "how are you?\n\nTell me.",
        "Name the colour.",
        "Wie geht es dir?",
        "Why though?",
        "Why not so?",
        "When is it?",
    ]
    assert all(row.input == row.response == row.system == "" for row in rows)
    assert len({row.id for row in rows}) == 6
    assert counts["sharegpt asks first"] == (9, 6)
    assert counts["sharegpt is answered"] == (6, 5)
    assert counts["sharegpt legible"] == (5, 4)
    assert counts["sharegpt 2 to 256 words"] == (4, 2)
    assert counts["sharegpt not there yet"] == (2, 1)
    assert counts["dolly asked without context"] == (2, 1)
    assert counts["openassistant is answered"] == (2, 1)
    assert counts["openorca answered by gpt4"] == (7, 6)
    assert counts["openorca no entailment"] == (6, 4)
    assert counts["openorca not there yet"] == (4, 3)  # also when another source has it
    assert counts["openorca 10,000 of flan at random"] == (2, 2)
    assert counts["dolly 10,000 at random"] == (1, 1)


def test_as_many_prompts_are_drawn_from_each_source_of_openorca(tmp_path: Path) -> None:
    rows = [
        {
            "id": f"{kind}.{i}",
            "question": f"What of {kind} {i}?",
            "system_prompt": "",
            "response": "",
        }
        for i in range(30)
        for kind in ("niv", "flan", "t0", "cot")
    ]
    path = save(tmp_path / "o.jsonl", rows)
    chosen, counts = prepared("dromedary2-prompts", {"openorca": path}, rows=20)
    drawn = [row.instruction.split()[2] for row in chosen]
    assert {kind: drawn.count(kind) for kind in drawn} == {"niv": 5, "flan": 5, "t0": 5, "cot": 5}
    assert counts["openorca 5 of t0 at random"] == (30, 5)
    again, _ = prepared("dromedary2-prompts", {"openorca": path}, rows=20)
    assert chosen == again
    bad = save(tmp_path / "bad.jsonl", [{**rows[0], "id": "xyz.1"}])
    with pytest.raises(
        InputError, match=r"bad\.jsonl, line 1: id 'xyz\.1' names none of niv, flan"
    ):
        prepared("dromedary2-prompts", {"openorca": bad})


def test_sharegpt_is_read_in_each_of_its_layouts_and_from_several_files(tmp_path: Path) -> None:
    turns = [{"from": "human", "markdown": "in *markdown*?", "text": "flat"}, {"from": "gpt"}]
    paths = [
        save(tmp_path / "zetavg.parquet", [{"id": "1", "conversations": turns}]),
        save(tmp_path / "sg.jsonl", [share("abc", ("human", "in a value?"), ("gpt", "Yes."))]),
        save(
            tmp_path / "ShareGPT.jsonl",
            [{"text": "<human>: in one text? <bot>: Yes."}, {"text": "<human>: left alone?"}],
        ),
    ]
    several = Path(",".join(map(str, paths)))
    rows, counts = prepared("dromedary2-prompts", {"sharegpt": several})
    assert [row.instruction for row in rows] == ["in *markdown*?", "in a value?", "in one text?"]
    assert counts["sharegpt is answered"] == (4, 3)
    wrong = save(tmp_path / "w.jsonl", [{"conversations": [{"from": "human"}, {"from": "gpt"}]}])
    with pytest.raises(
        InputError, match=r"w\.jsonl, line 1: a message without 'value', 'markdown'"
    ):
        prepared("dromedary2-prompts", {"sharegpt": wrong})


@pytest.mark.parametrize(
    ("found", "left"),
    [
        ("1 / 2What is it?", "What is it?"),
        ("What is it? 2 / 2", "What is it?"),
        ("A page's title1 / 1What is it?", "What is it?"),
        ("What is it? 지금 번역하기 und mehr", "What is it?"),
        ("What is it?\n \n Language: Klingon\nand more", "What is it?"),
        ("What is it? Language: Chinese (Traditional)", "What is it?"),
        ("What is it?\nShare Prompt", "What is it?"),
        ("What is it? Translate now", "What is it?"),
        ("~The following is a conversation with Bing, not ChatGPT.~ What is it?", "What is it?"),
        ("1 / 2What is it? Translate now Language: DutchShare Prompt", "What is it?"),
    ],
)
def test_what_a_page_leaves_in_a_prompt_is_taken_out(found: str, left: str) -> None:
    assert strip_residue(found) == (left, True)


@pytest.mark.parametrize(
    "text",
    ["Is 1/2 more than 1/3?", "What is 1 / 1 in words?", "Sort this. Language: Python"],
)
def test_what_people_wrote_stays(text: str) -> None:
    assert strip_residue(text) == (text, False)


def test_dromedary2_prompts_count_tokens_where_there_is_a_tokenizer(four: dict[str, Path]) -> None:
    some = {"openorca": four["openorca"]}
    rows, counts = prepared("dromedary2-prompts", some, tokens=lambda text: 200 * len(text.split()))
    assert rows == []
    assert counts["openorca 2 to 256 tokens"] == (4, 0)
