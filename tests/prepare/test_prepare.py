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
    message("a2", parent="a0", role="prompter"),  # a second turn is no seed
    message("b", quality=0.9),
    message("b0", parent="b", rank=0, quality=0.9),
    message("c", lang="de"),
    message("c0", parent="c", lang="de"),
    message("d", quality=0.6),  # not above .6
    message("d0", parent="d"),
    message("e", text="only five words are here"),
    message("e0", parent="e"),
    message("f"),
    message("f0", parent="f", quality=None),
    message("g"),  # nobody replied
    message("h"),
    message("h0", parent="h", quality=0.61),  # the only reply was not ranked
]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_oasst1_keeps_the_best_answered_questions_in_order(tmp_path: Path, suffix: str) -> None:
    rows, counts = prepared("oasst1", save(tmp_path / f"o.{suffix}", OASST1))
    assert [row.id for row in rows] == ["b0", "a0", "h0"]
    assert counts == {
        "english": (17, 15),
        "first question": (15, 7),
        "first reply by rank": (7, 6),
        "both of quality": (6, 4),
        "both long enough": (4, 3),
        "best 3,200": (3, 3),
    }
    assert rows[0].meta["quality"] == [0.9, 0.9]
    assert [r.id for r in prepared("oasst1", tmp_path / f"o.{suffix}", rows=1)[0]] == ["b0"]


def test_oasst1_reads_trees_too(tmp_path: Path) -> None:
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
    rows, counts = prepared("oasst1", path)
    assert [(r.id, r.instruction, r.response) for r in rows] == [
        ("x0", f"{LONG} x", f"{LONG} x0"),
    ]
    assert counts["english"] == (4, 4)


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
    assert [r["id"] for r in rows] == ["w-2", "w-3", "w-5", "w-7"]
    assert counts == {
        "length of an answer": (7, 5),
        "whole lines": (5, 4),
        "first 502,000": (4, 4),
    }
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
    ]
    dolly = {"instruction": "Name the colour.", "context": "Snow.", "response": "White"}
    orca = {"id": "niv.1", "system_prompt": "You are verbose.", "response": "ok"}
    (tmp_path / "sg.json").write_text(json.dumps(sharegpt))
    return {
        "sharegpt": tmp_path / "sg.json",
        "dolly": save(tmp_path / "d.jsonl", [{**dolly, "category": "closed_qa"}]),
        "openassistant": save(
            tmp_path / "oa.parquet",
            [message("a", "Wie geht es dir?", lang="de"), message("a0", parent="a")],
        ),
        "openorca": save(
            tmp_path / "oo.parquet",
            [{**orca, "question": "how are you?\n\nTell me."}, {**orca, "question": "Why though?"}],
        ),
    }


def test_dromedary2_prompts_are_cleaned_bounded_and_once(four: dict[str, Path]) -> None:
    rows, counts = prepared("dromedary2-prompts", four)
    assert [row.instruction for row in rows] == [
        "how are you?\n\nTell me.",
        "Name the colour.",
        "Wie geht es dir?",
        "Why though?",
    ]
    assert rows[1].input == "Snow."
    assert all(row.response == row.system == "" for row in rows)
    assert len({row.id for row in rows}) == 4
    assert counts["sharegpt asks first"] == (8, 5)
    assert counts["sharegpt legible"] == (5, 4)
    assert counts["sharegpt 2 to 256 words"] == (4, 2)
    assert counts["sharegpt not there yet"] == (2, 1)
    assert counts["openorca not there yet"] == (2, 1)  # also when another source has it
    assert counts["dolly 10,000 at random"] == (1, 1)


def test_dromedary2_prompts_count_tokens_where_there_is_a_tokenizer(four: dict[str, Path]) -> None:
    some = {"openorca": four["openorca"]}
    rows, counts = prepared("dromedary2-prompts", some, tokens=lambda text: 200 * len(text.split()))
    assert rows == []
    assert counts["openorca 2 to 256 tokens"] == (2, 0)


# -- reading and writing ---------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_rows_are_written_as_formats_reads_them(tmp_path: Path, suffix: str) -> None:
    rows, _ = prepared("oasst1", save(tmp_path / "o.jsonl", OASST1))
    out = tmp_path / "new" / f"seeds.{suffix}"
    assert write(iter(rows), out, "oasst1") == 3
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
