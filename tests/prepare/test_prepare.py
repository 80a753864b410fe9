"""Preparations on small records in the layouts of the real data sets, written by hand."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.errors import InputError
from woolgather.core.rows import Example
from woolgather.data import read_examples
from woolgather.prepare import SETS, FilterCounts, PublishedSource, Wanted, write

from .shared import LONG, message, prepared, save

# -- oasst1 ----------------------------------------------------------------------------------------


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
