"""Documents become texts: cutting, every rule by example, near-duplicates, bounded memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from woolgather.core.errors import YieldError
from woolgather.core.rows import Example
from woolgather.data.documents import Document
from woolgather.ops.curate.texts import (
    TEXT_PRESETS,
    TEXT_RULES,
    TextOptions,
    broken_text_rule,
    prepare_texts,
    segments,
)

GOOD = (
    "A kettle sings before it boils because bubbles of steam form at the hot bottom and collapse "
    "in the cooler water above. Each collapse is a tiny click, and thousands of them together make "
    "the note. When all of the water is hot enough, the bubbles survive to the top, and the sound "
    "becomes deeper and softer. Cooks who listen can tell the state of the water without looking."
)
OPTIONS = TextOptions(min_chars=100, max_chars=800)


def pieces(text: str, **options: Any) -> list[tuple[str, str]]:
    return list(segments(text, TextOptions(**{"min_chars": 1, **options})))


def prepared(texts: list[str], options: TextOptions = OPTIONS, **more: Any) -> list[Example]:
    documents = [Document(text, f"t{i}.txt") for i, text in enumerate(texts)]
    return list(prepare_texts(documents, options=options, **more))


def test_a_short_document_stays_whole_and_keeps_its_lines() -> None:
    assert pieces("# Title\r\n\r\nOne.  \r\n\r\n\r\n\r\nTwo.\n") == [
        ("", "# Title\n\nOne.\n\nTwo.")
    ]
    assert pieces("") == [("", "")]


def test_headings_of_three_kinds() -> None:
    text = (
        "Before any.\n\n## Soups ##\n\nLentils.\n\nStews\n-----\nBeans.\n\nCold Dishes\n\nSalad.\n"
        "Short lines end like this.\n\n```\n# no heading\n```\n"
    )
    assert pieces(text, cut="headings") == [
        ("", "Before any."),
        ("Soups", "Lentils."),
        ("Stews", "Beans."),
        ("Cold Dishes", "Salad.\nShort lines end like this.\n\n```\n# no heading\n```"),
    ]


def test_a_long_document_is_cut_at_headings_and_then_packed() -> None:
    paragraph = "Word " * 19 + "end."
    text = "# One\n\nShort part.\n\n# Two\n\n" + "\n\n".join([paragraph] * 5)
    found = pieces(text, max_chars=250)
    assert [heading for heading, _ in found] == ["One", "Two", "Two", "Two"]
    assert [text.count("end.") for _, text in found] == [0, 2, 2, 1]
    assert pieces(text, max_chars=250, cut="whole")[0][1].startswith("# One")


BROKEN = {
    "empty": "***\n---",
    "too_short": "A kettle sings before it boils.",
    "too_long": GOOD * 3,
    "short_line": GOOD + "\n\n12\n\n" + GOOD[:100],
    "few_letters": "Row 1: 12.5 | 13.7 | 99.1 | 44.0 | 7.1\n" * 4 + GOOD[:60],
    "shouting": GOOD.upper(),
    "foreign_script": "Чайник поёт перед кипением, потому что пузырьки пара лопаются в воде. " * 3,
    "boilerplate": GOOD + " This site uses cookies. All rights reserved.",
    "many_links": "See https://a.example and https://b.example for more about kettles, "
    "which sing before they boil because of the bubbles.",
    "menu": "Home page\nAbout us\nOur kettles\nContact form\nOpening hours\nSite search\n"
    "The kettles that we repair are listed on the page about repairs, with photographs.",
    "unfinished": GOOD[:-30],
    "repeated_lines": "The kettle is on the stove now.\nIt will sing before it boils.\n" * 4,
    "loop": "The kettle sings and " * 40 + "stops.",
}


@pytest.mark.parametrize("name", TEXT_RULES)
def test_each_rule_finds_its_fault_and_lets_a_good_text_pass(name: str) -> None:
    scripts = frozenset({"LATIN"})
    only = OPTIONS.model_copy(update={"rules": (name,)})
    assert broken_text_rule(BROKEN[name], only, scripts) == name
    assert broken_text_rule(GOOD, only, scripts) is None


@pytest.mark.parametrize(
    "text",
    [
        GOOD + "\n\nWarm regards,\nIlse Brandt",
        GOOD + "\n\n- one cup of water\n- a kettle",
        GOOD + "\n\n```\nx = 1\n\n}\n```",
        GOOD.replace("sings", "“sings”") + " “Listen!”",
        "這是一段關於水壺的文字。" * 20,
        GOOD + " We share on average two cups. Read more books!",
    ],
)
def test_what_is_no_fault(text: str) -> None:
    rules = OPTIONS.model_copy(update={"rules": tuple(set(OPTIONS.rules) - {"loop"})})
    assert broken_text_rule(text, rules) is None


def test_lists_of_rules_and_mistakes_in_them() -> None:
    assert TextOptions(rules=("default", "-menu")).rules == tuple(  # type: ignore[arg-type]
        r for r in TEXT_PRESETS["default"] if r != "menu"
    )
    with pytest.raises(ValidationError, match="Did you mean short_line"):
        TextOptions(rules=("short_lines",))
    with pytest.raises(ValidationError, match="min_chars 900 is above max_chars 800"):
        TextOptions(min_chars=900, max_chars=800)


def test_rows_say_where_they_come_from_and_why_they_are_set_aside() -> None:
    near = GOOD.replace("thousands", "hundreds")
    rows = prepared([GOOD, "Too short.", GOOD, near, f"# Steam\n\n{GOOD[::-1]}."])
    assert [r.set_aside for r in rows] == [
        None, "too_short", "near_duplicate", "near_duplicate", None,
    ]  # fmt: skip
    assert rows[0].meta == {"origin": "text", "source": "t0.txt"}
    cut = prepared(
        [f"# One\n\n{GOOD}\n\n# Two\n\nShort."], OPTIONS.model_copy(update={"cut": "headings"})
    )
    assert [(r.meta["heading"], r.meta["segment"]) for r in cut] == [("One", 1), ("Two", 2)]
    assert (rows[0].instruction, rows[0].response) == ("", GOOD)
    kept = prepared([GOOD, GOOD], OPTIONS.model_copy(update={"near_duplicate": None}))
    assert [r.set_aside for r in kept] == [None, None]


def test_what_is_held_out_is_not_among_the_texts() -> None:
    held = [Example(instruction="Why does a kettle sing?", response=GOOD)]
    other = GOOD[::-1] + "."
    rows = prepared([GOOD, other], avoid=[held])
    assert [r.set_aside for r in rows] == ["near_duplicate", None]


def test_reading_ends_at_the_limit() -> None:
    def endless() -> Iterator[Document]:
        i = 0
        while True:
            i += 1
            yield Document(f"{GOOD} {i} " + " ".join(f"{i}x{k}" for k in range(60)) + ".", "s")

    rows = list(prepare_texts(endless(), options=OPTIONS.model_copy(update={"limit": 7})))
    assert len([r for r in rows if r.set_aside is None]) == 7


def test_no_text_left_is_one_error_with_its_reasons() -> None:
    with pytest.raises(YieldError) as found:
        prepared(["Short.", "Brief."])
    assert "none of 2 texts in 2 documents" in str(found.value)
    assert "too_short 2" in str(found.value)
    assert "text.min_chars" in str(found.value)


def test_the_views_count_and_name_the_bytes_of_the_index() -> None:
    views: list[Any] = []

    def drained() -> Iterator[Example]:
        views.extend((yield from prepare_texts([Document(GOOD, "a")], options=OPTIONS)))

    assert len(list(drained())) == 1
    assert views[0].data["stages"] == [["documents", 1], ["texts", 1], ["used", 1]]
    assert sum(views[1].data["series"]["texts"]) == 1
    assert views[2].data["columns"] == ["texts", "bytes", "bytes per text"]


def test_memory_does_not_grow_with_the_documents() -> None:
    """But for the index: without it 20,000 documents take no more than 2,000."""

    def documents(count: int) -> Iterator[Document]:
        for i in range(count):
            yield Document(f"{GOOD} {i}.", f"{i}")

    options = OPTIONS.model_copy(update={"near_duplicate": None, "rules": ("too_short",)})

    def peak(count: int) -> int:
        tracemalloc.start()
        assert sum(1 for _ in prepare_texts(documents(count), options=options)) == count
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(100)
    assert peak(20_000) < peak(2_000) + 100_000


@pytest.mark.full
def test_two_hundred_thousand_documents_in_bounded_memory() -> None:
    import psutil

    def documents() -> Iterator[Document]:
        for i in range(200_000):
            words = " ".join(f"w{(i * k * 7919) % 9973}" for k in range(1, 25))
            yield Document(f"Number {i}: {words}.", f"{i}")

    options = TextOptions(min_chars=20, rules=("too_short",))
    process = psutil.Process()
    before = process.memory_info().rss
    assert sum(1 for _ in prepare_texts(documents(), options=options)) == 200_000
    assert process.memory_info().rss - before < 300_000_000
