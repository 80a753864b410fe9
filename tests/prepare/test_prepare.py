"""Preparations on small records in the layouts of the real data sets, written by hand."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.errors import InputError
from woolgather.core.rows import Example
from woolgather.data import read_examples
from woolgather.prepare import SETS, FilterCounts, PublishedSource, Wanted, write
from woolgather.prepare.residue import strip_residue

LONG = "a text of rather more than five words"


def save(path: Path, records: Iterable[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(list(records)), path)
    else:
        path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return path


def prepared(
    name: str, sources: Path | Mapping[str, Path], **wanted: Any
) -> tuple[list[Any], dict[str, tuple[int, int]]]:
    """Rows, and (before, after) by filter."""
    if isinstance(sources, Path):
        sources = {name: sources}
    tally = FilterCounts()
    found = {k: PublishedSource(str(v), SETS[name].sources[k].split) for k, v in sources.items()}
    rows = list(SETS[name].make(found, Wanted(**wanted), tally))
    return rows, {f"{c.source} {c.filter}".strip(): (c.before, c.after) for c in tally.lines}


# -- oasst1 ----------------------------------------------------------------------------------------


def message(
    id_: str, text: str = LONG, parent: str | None = None, quality: float | None = 0.8, **more: Any
) -> dict[str, Any]:
    """A message as a row of the table: labels are parallel lists."""
    named = [("spam", 0.0)] + ([("quality", quality)] if quality is not None else [])
    return {
        "message_id": id_,
        "parent_id": parent,
        "user_id": "u",
        "created_date": "2023-02-05T14:23:50",
        "text": text,
        "role": "assistant" if parent else "prompter",
        "lang": "en",
        "deleted": False,
        "rank": None,
        "synthetic": False,
        "message_tree_id": id_[:1],
        "tree_state": "ready_for_export",
        "labels": {
            "name": [n for n, _ in named],
            "value": [v for _, v in named],
            "count": [3 for _ in named],
        },
        **more,
    }


OASST1 = [
    message("a", quality=0.7),
    message("a1", parent="a", rank=1, quality=0.99),
    message("a0", parent="a", rank=0, quality=0.75),
    message("a2", parent="a0", role="prompter", quality=0.85),  # a second turn
    message("a20", parent="a2", rank=0, quality=0.7),
    message("b", quality=0.9),
    message("b0", parent="b", rank=0, quality=0.9),
    message("c", lang="de"),
    message("c0", parent="c", lang="de"),
    message("d", quality=0.6),  # not above .6
    message("d0", parent="d", rank=0),
    message("e", text="only five words are here", quality=0.7),
    message("e0", parent="e", rank=0, quality=0.65),
    message("f"),
    message("f0", parent="f", quality=None, rank=0),
    message("g"),  # nobody replied
    message("h"),
    message("h0", parent="h", quality=0.61),  # the only reply was not ranked
    message("i"),
    message("i0", parent="i", rank=0, lang="de"),  # the first reply is not English
]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_oasst1_by_the_papers_rule_takes_first_turns_and_first_replies(
    tmp_path: Path, suffix: str
) -> None:
    rows, counts = prepared("oasst1", save(tmp_path / f"o.{suffix}", OASST1))
    assert [row.id for row in rows] == ["b0", "a0", "d0", "e0", "f0"]
    assert counts == {
        "english": (20, 17),
        "first question": (17, 8),
        "english replies": (8, 7),
        "ranked first": (7, 5),
        "best 3,200": (5, 5),
    }
    assert rows[0].meta["quality"] == [0.9, 0.9]
    assert [r.id for r in prepared("oasst1", tmp_path / f"o.{suffix}", rows=1)[0]] == ["b0"]


def test_oasst1_by_the_unofficial_rule_takes_all_turns_of_quality(tmp_path: Path) -> None:
    path = save(tmp_path / "o.jsonl", OASST1)
    tally = FilterCounts()
    wanted = Wanted(rule="unofficial")
    rows = list(SETS["oasst1"].make({"oasst1": PublishedSource(str(path))}, wanted, tally))
    assert [row.id for row in rows] == ["b0", "a20", "a0"]
    lines = {line.filter: (line.before, line.after, line.paper) for line in tally.lines}
    assert "first question" not in lines
    assert lines["both of quality"] == (6, 4, None)
    assert lines["both long enough"] == (4, 3, 3_286)
    assert lines["best 3,200"] == (3, 3, 3_200)
    asked, answered = tally.lengths
    assert (asked.what, asked.paper) == ("instruction", (149.0, 266.0))
    assert (answered.what, answered.paper) == ("response", (1184.0, 799.0))
    assert (asked.mean, asked.deviation) == (len(LONG), 0.0)


def test_oasst1_reads_trees_and_packed_trees(tmp_path: Path) -> None:
    import gzip

    def node(id_: str, role: str, quality: float, replies: list[Any], **more: Any) -> Any:
        labels = {"quality": {"value": quality, "count": 3}, "spam": {"value": 0.0, "count": 3}}
        head = {"message_id": id_, "role": role, "lang": "en", "text": f"{LONG} {id_}"}
        return {**head, "labels": labels, "replies": replies, **more}

    replies = [
        node("x1", "assistant", 0.9, [], rank=1),
        node("x0", "assistant", 0.7, [node("x00", "prompter", 0.9, [])], rank=0),
    ]
    tree = {"message_tree_id": "x", "tree_state": "ready_for_export"}
    path = save(tmp_path / "t.jsonl", [{**tree, "prompt": node("x", "prompter", 0.8, replies)}])
    packed = tmp_path / "packed" / "2023-04-12_oasst_ready.trees.jsonl.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for source in (path, packed, packed.parent):
        rows, counts = prepared("oasst1", source)
        assert [(r.id, r.instruction, r.response) for r in rows] == [
            ("x0", f"{LONG} x", f"{LONG} x0"),
        ]
        assert counts["english"] == (4, 4)


def test_oasst1_reads_both_splits_of_a_downloaded_folder(tmp_path: Path) -> None:
    for split, name in (("train", "a"), ("validation", "b")):
        pair = [message(name), message(f"{name}0", parent=name, rank=0)]
        save(tmp_path / "data" / f"{split}-00000-of-00001.parquet", pair)
    rows, _ = prepared("oasst1", tmp_path)
    assert [row.id for row in rows] == ["a0", "b0"]


def test_a_file_of_another_data_set_is_noticed_at_its_first_line(tmp_path: Path) -> None:
    path = save(tmp_path / "dolly.jsonl", [{"instruction": "Say yes.", "response": "Yes."}])
    for name, word in (
        ("oasst1", "message_id"),
        ("refinedweb", "content"),
        ("ultrachat", "messages"),
    ):
        with pytest.raises(InputError, match=rf"dolly\.jsonl, line 1: .*{word}.* A good one: "):
            prepared(name, path)


# -- refinedweb ------------------------------------------------------------------------------------


def page(text: str, number: int = 0) -> dict[str, Any]:
    return {
        "content": text,
        "url": f"http://example.org/{number}",
        "timestamp": "2018-01-01T00:00:00Z",
        "dump": "CC-MAIN-2018-05",
        "segment": "1",
        "image_urls": [["http://example.org/i.png", "alt"]],
    }


def test_refinedweb_takes_the_first_texts_of_the_length_of_an_answer(tmp_path: Path) -> None:
    line = "x" * 99
    whole = "\n".join([line] * 10)  # 999 characters
    pages = [
        page(whole),
        page(whole + "."),
        page("y" * 2200),
        page("y" * 2201),
        page(f"{whole}\n\n{line}"),  # an empty line parts paragraphs
        page(f"{whole}\nMenu"),
        page(f"{whole}\nMenus"),
    ]
    path = save(tmp_path / "w.parquet", pages)
    rows, counts = prepared("refinedweb", path)
    assert [r["id"] for r in rows] == ["w-2", "w-3", "w-7"]
    assert counts == {
        "length of an answer": (7, 5),
        "whole lines": (5, 3),
        "first 502,000": (3, 3),
    }
    rows, counts = prepared("refinedweb", path, blank_lines="keep")
    assert [r["id"] for r in rows] == ["w-2", "w-3", "w-5", "w-7"]
    assert counts["whole lines or blank"] == (5, 4)
    rows, counts = prepared("refinedweb", path, rows=1)
    assert len(rows) == 1
    assert counts["length of an answer"] == (2, 1)  # no more is read than is wanted


# -- ultrachat -------------------------------------------------------------------------------------


def talk(number: int, *turns: str) -> dict[str, Any]:
    roles = ("user", "assistant")
    said = [{"content": text, "role": roles[i % 2]} for i, text in enumerate(turns)]
    return {"prompt": turns[0] if turns else "", "prompt_id": f"p{number:03}", "messages": said}


def test_ultrachat_draws_first_turns_with_a_seed(tmp_path: Path) -> None:
    talks = [talk(i, f"question {i}", f"answer {i}", "more?", "more.") for i in range(40)]
    path = save(tmp_path / "u.parquet", [*talks, talk(40, "nobody answered")])
    rows, counts = prepared("ultrachat", path)
    assert counts == {"asked and answered": (41, 40), "50,000 at random": (40, 40)}
    assert [(r.instruction, r.response) for r in rows][7] == ("question 7", "answer 7")
    some = [r.id for r in prepared("ultrachat", path, rows=10)[0]]
    assert some == sorted(some)
    assert len(set(some)) == 10
    assert some == [r.id for r in prepared("ultrachat", path, rows=10)[0]]
    assert some != [r.id for r in prepared("ultrachat", path, rows=10, seed=43)[0]]


def test_a_system_turn_before_the_question_is_kept(tmp_path: Path) -> None:
    record = talk(0, "q", "a")
    record["messages"].insert(0, {"role": "system", "content": "Be brief."})
    [row], _ = prepared("ultrachat", save(tmp_path / "u.jsonl", [record]))
    assert (row.system, row.instruction, row.response) == ("Be brief.", "q", "a")


def test_of_a_downloaded_folder_only_the_split_is_read(tmp_path: Path) -> None:
    for split in ("train_sft", "test_sft", "train_gen"):
        save(tmp_path / "data" / f"{split}-00000-of-00001.parquet", [talk(0, split, "a")])
    save(tmp_path / ".cache" / "train_sft-old.parquet", [talk(0, "hidden", "a")])
    (tmp_path / "README.md").write_text("a card")
    rows, _ = prepared("ultrachat", tmp_path)
    assert [row.instruction for row in rows] == ["train_sft"]


# -- dromedary2-prompts ----------------------------------------------------------------------------


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


# -- reading and writing ---------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_rows_are_written_as_formats_reads_them(tmp_path: Path, suffix: str) -> None:
    rows, _ = prepared("oasst1", save(tmp_path / "o.jsonl", OASST1))
    out = tmp_path / "new" / f"seeds.{suffix}"
    assert write(iter(rows), out, "oasst1") == 5
    assert list(read_examples(out)) == rows
    prompt = Example(id="p-1", instruction="Why?", meta={"origin": "prompt"})
    assert write(iter([prompt]), out, "dromedary2-prompts") == 1
    assert list(read_examples(out, needs_response=False)) == [prompt]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_documents_are_written_with_a_column_of_texts(tmp_path: Path, suffix: str) -> None:
    from woolgather.data.record_files import read_records

    rows = [{"id": f"w-{i}", "text": f"text {i}", "url": ""} for i in range(700)]
    out = tmp_path / f"texts.{suffix}"
    assert write(iter(rows), out, "refinedweb") == 700
    assert [record for _, record in read_records(out)] == rows


def test_a_preparation_that_fails_leaves_no_file(tmp_path: Path) -> None:
    path = save(tmp_path / "u.jsonl", [talk(0, "q", "a"), {"messages": "none"}])
    tally = FilterCounts()
    rows = SETS["ultrachat"].make({"ultrachat": PublishedSource(str(path))}, Wanted(), tally)
    with pytest.raises(InputError, match=r"u\.jsonl, line 2: no list of messages"):
        write(rows, tmp_path / "out.jsonl", "ultrachat")
    half = Example(instruction="a", response="\ud83d")
    with pytest.raises(InputError, match="half a character"):
        write(iter([half]), tmp_path / "out.jsonl", "ultrachat")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["u.jsonl"]


def hub(monkeypatch: pytest.MonkeyPatch, load: Any) -> None:
    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load))


def test_the_hub_is_streamed_and_only_as_far_as_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    read: list[int] = []

    def load(repo: str, **how: Any) -> Any:
        asked.append((repo, how))
        for i in range(1000):
            read.append(i)
            yield page("z" * 1500, i)

    hub(monkeypatch, load)
    tally = FilterCounts()
    source = PublishedSource("tiiuae/falcon-refinedweb@abc", files=("one.json",))
    rows = SETS["refinedweb"].make({"refinedweb": source}, Wanted(rows=3), tally)
    assert len(list(rows)) == 3
    assert len(read) <= 4
    how = {"split": "train", "revision": "abc", "streaming": True, "data_files": ["one.json"]}
    assert asked == [("tiiuae/falcon-refinedweb", how)]


def test_without_a_network_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: Any, **__: Any) -> Any:
        raise ConnectionError("no route to host\nand more")

    hub(monkeypatch, load)
    source = PublishedSource("OpenAssistant/oasst1", command="woolgather prepare oasst1 ...")
    with pytest.raises(InputError) as caught:
        list(source)
    assert "the hub cannot be reached (ConnectionError)" in str(caught.value)
    assert "hf download OpenAssistant/oasst1 --repo-type dataset" in str(caught.value)
    assert str(caught.value).endswith("woolgather prepare oasst1 oasst1")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"pip install 'woolgather\[local\]'"):
        list(source)


@pytest.mark.parametrize("name", ["./nothing", "a/b/c", "deep/nothing.jsonl", "nothing"])
def test_what_looks_like_a_path_is_never_looked_up(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match="no such file"):
        list(PublishedSource(name))


def test_an_empty_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file that ends in \.jsonl"):
        list(PublishedSource(str(tmp_path)))


def test_long_reading_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("woolgather.prepare.sources.EVERY", 2)
    notes: list[str] = []
    path = save(tmp_path / "u.jsonl", [talk(i, "q", "a") for i in range(5)])
    list(PublishedSource(str(path), note=notes.append))
    assert notes == [f"{path}: {n} records read" for n in (2, 4)]
