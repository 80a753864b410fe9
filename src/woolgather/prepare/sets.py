"""Seeds and texts for Humback, pairs for SPIN: which rows of which data set their papers used.

The one idea: what a paper says in a sentence ("English, first reply by rank, ...") is here a list of
named filters in its order. Rows are the data sets' own texts, unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from woolgather.core.rows import Example
from woolgather.data.record_files import Place
from woolgather.prepare.counting import FilterCounts
from woolgather.prepare.reading import OasstMessage, Wanted, first_question, messages, opening
from woolgather.prepare.sources import PublishedSource

Document = Mapping[str, str]
"""`id`, `text`, `url`: a text without an instruction, for Humback's `texts`."""


# -- oasst1: seeds for Humback ---------------------------------------------------------------------

OASST1_ROWS = 3_200
UNOFFICIAL_PAIRS = 3_286
"""Pairs that the unofficial implementation (Spico197/Humback, README.md) chose the best from."""
LENGTHS = {"instruction": (149.0, 266.0), "response": (1184.0, 799.0)}
"""Characters of its seeds, mean and deviation."""
QUALITY = 0.6
WORDS = 5


def oasst1(
    sources: Mapping[str, PublishedSource], wanted: Wanted, tally: FilterCounts
) -> Iterator[Example]:
    """Yields answered questions of people, the best first: seeds for Humback.

    By rule `paper` the first turns of conversations with the reply that people ranked first, both in
    English; of more than are wanted, those of the best quality. By rule `unofficial` the same of all
    turns, if both sides are of quality and long enough. Reads twice: the questions, then the
    replies to them. Memory: those questions and one reply each."""
    source = sources["oasst1"]
    everything = (m for pair in source for m in messages(*pair))
    filters = (english, first_question) if wanted.rule == "paper" else (english,)
    questions = {m.id: m for m in tally.sift(everything, *filters)}
    replies = (m for pair in source for m in messages(*pair) if m.parent in questions)
    ranked = tally.sift(replies, english_replies, ranked_first)
    rows: Iterator[Example] = (_pair_reply(questions[m.parent], m) for m in ranked)
    if wanted.rule == "unofficial":
        rows = tally.sift(rows, both_of_quality, both_long_enough)
        tally.lines[-1].paper = UNOFFICIAL_PAIRS
    best = tally.best(rows, wanted.rows or OASST1_ROWS, summed_quality, OASST1_ROWS)
    yield from tally.measure(
        best,
        {
            "instruction": (lambda row: row.instruction, LENGTHS["instruction"]),
            "response": (lambda row: row.response, LENGTHS["response"]),
        },
    )


def english(message: OasstMessage) -> bool:
    """The seeds of the paper are English."""
    return message.lang == "en"


def english_replies(message: OasstMessage) -> bool:
    """The reply is in English, too."""
    return english(message)


def ranked_first(message: OasstMessage) -> bool:
    """People put it first among the replies."""
    return message.rank == 0


def both_of_quality(row: Example) -> bool:
    """People's label `quality` is above .6 for the question and for the reply; unlabelled is not."""
    return all(q is not None and q > QUALITY for q in row.meta["quality"])


def both_long_enough(row: Example) -> bool:
    """A question or a reply of 5 words or fewer teaches little."""
    return min(len(row.instruction.split()), len(row.response.split())) > WORDS


def summed_quality(row: Example) -> float:
    """By the summed quality of question and reply."""
    return sum(q or 0.0 for q in row.meta["quality"])


def _pair_reply(asked: OasstMessage, reply: OasstMessage) -> Example:
    return Example(
        id=reply.id,
        instruction=asked.text,
        response=reply.text,
        meta={"origin": "seed", "source": "oasst1", "quality": [asked.quality, reply.quality]},
    )


# -- refinedweb: texts for Humback -----------------------------------------------------------------

REFINEDWEB_ROWS = 502_000
CHARACTERS = (1000, 2200)
LINE = 5


def refinedweb(
    sources: Mapping[str, PublishedSource], wanted: Wanted, tally: FilterCounts
) -> Iterator[Document]:
    """Yields web pages that may be answers: texts for Humback.

    Ends as soon as there are enough. Memory: none that grows."""
    documents = (_document(*pair) for pair in sources["refinedweb"])
    whole = whole_lines if wanted.blank_lines == "drop" else whole_lines_or_blank
    good = tally.sift(documents, length_of_an_answer, whole)
    yield from tally.first(good, wanted.rows or REFINEDWEB_ROWS, REFINEDWEB_ROWS)


def length_of_an_answer(document: Document) -> bool:
    """1000 to 2200 characters: longer than a snippet, and no longer than an answer may be."""
    return CHARACTERS[0] <= len(document["text"]) <= CHARACTERS[1]


def whole_lines(document: Document) -> bool:
    """Every line has at least 5 characters: menus and tables have shorter ones. A blank line is one,
    as in the unofficial implementation."""
    return all(len(line) >= LINE for line in document["text"].split("\n"))


def whole_lines_or_blank(document: Document) -> bool:
    """Every line has at least 5 characters, but for blank ones, which part paragraphs."""
    lines = (line.strip() for line in document["text"].splitlines())
    return all(len(line) >= LINE for line in lines if line)


def _document(place: Place, record: object) -> Document:
    good = '{"content": "...", "url": "..."}'
    fields = record if isinstance(record, Mapping) else {}
    text = fields.get("content", fields.get("text"))
    if not isinstance(text, str):
        raise place.wrong("no field 'content' (or 'text') with a text.", good)
    name = f"{place.path.stem}-{place.number}"
    return {"id": name, "text": text, "url": str(fields.get("url") or "")}


# -- ultrachat: pairs for SPIN ---------------------------------------------------------------------

ULTRACHAT_ROWS = 50_000


def ultrachat(
    sources: Mapping[str, PublishedSource], wanted: Wanted, tally: FilterCounts
) -> Iterator[Example]:
    """Yields first turns of conversations: pairs for SPIN.

    Memory: the rows drawn (about 3 KB each)."""
    rows = (_first_turns(*pair) for pair in sources["ultrachat"])
    good = tally.sift(rows, asked_and_answered)
    yield from tally.draw(good, wanted.rows or ULTRACHAT_ROWS, wanted.seed, ULTRACHAT_ROWS)


def asked_and_answered(row: Example) -> bool:
    """The conversation begins with a question, and an answer follows it."""
    return bool(row.instruction.strip() and row.response.strip())


def _first_turns(place: Place, record: object) -> Example:
    good = '{"prompt_id": "...", "messages": [{"role": "user", "content": "..."}, ...]}'
    fields = record if isinstance(record, Mapping) else {}
    system, asked, answer = opening(fields.get("messages"), "role", "content", "user", place, good)
    name = str(fields.get("prompt_id") or f"{place.path.stem}-{place.number}")
    meta = {"origin": "seed", "source": "ultrachat_200k"}
    return Example(id=name, instruction=asked, response=answer, system=system, meta=meta)
