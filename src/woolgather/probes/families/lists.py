"""Families that make a list, or pick from, order or change a given one."""

from __future__ import annotations

import random

from woolgather.probes.checks import Check
from woolgather.probes.families.accepted import accepted, plural_of
from woolgather.probes.families.shared import Draft, ask, family, pick
from woolgather.probes.families.words import ADJECTIVES, LISTABLE, NOUNS

_NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five"}
_PLACES = ("first", "second", "third", "fourth", "fifth")


@family
def list_k(rng: random.Random) -> Draft:
    topic, count = rng.choice(list(LISTABLE)), rng.randint(2, 5)
    wordings = (
        "List exactly {n} {topic}.",
        "Name {n} {topic}, separated by commas.",
        "Give me {n} different {topic} and nothing else.",
        "Write down {n} {topic}.",
    )
    items = rng.sample(LISTABLE[topic], count)
    asked = ask(rng, wordings, n=rng.choice((count, _NUMBERS[count])), topic=topic)
    check = {"kind": "items", "count": count, "among": accepted(topic)}
    return *asked, check, ", ".join(items)


@family
def another(rng: random.Random) -> Draft:
    topic = rng.choice(list(LISTABLE))
    known = rng.choice([item for item in LISTABLE[topic] if " " not in item])
    wordings = (
        "My list of {topic} begins with {x}. Add one more to it and write only the new one.",
        "Name one of the {topic}, but not {x}.",
        "Give me a single example of {topic} other than {x}.",
    )
    right = [item for item in accepted(topic) if item not in (known, plural_of(known))]
    check = {"kind": "items", "count": 1, "among": right, "max_words": 30}
    return *ask(rng, wordings, known, topic=topic), check, right[0]


@family
def marked_list(rng: random.Random) -> Draft:
    topic, count = rng.choice(list(LISTABLE)), rng.randint(2, 5)
    items = rng.sample(LISTABLE[topic], count)
    if rng.random() < 0.5:
        style, lines = "bulleted", [f"- {item}" for item in items]
        wordings = (
            "List {n} {topic}, each on its own line that begins with a dash.",
            "Make a bulleted list of {n} {topic}.",
            "Write {n} {topic} as bullet points.",
        )
    else:
        style, lines = "numbered", [f"{i}. {item}" for i, item in enumerate(items, 1)]
        wordings = (
            "Make a numbered list of {n} {topic}, one on each line.",
            "List {n} {topic} and number them from 1 to {k}, one per line.",
            "Write {n} {topic} as a numbered list.",
        )
    check = {"kind": "items", "count": count, "style": style, "among": accepted(topic)}
    asked = ask(rng, wordings, n=_NUMBERS[count], topic=topic, k=count)
    return *asked, check, "\n".join(lines)


@family
def end_item(rng: random.Random) -> Draft:
    words = rng.sample(NOUNS, rng.randint(4, 6))
    at, place = rng.choice(((0, "first"), (-1, "last")))
    wordings = (
        "What is the {place} word in this list?",
        "Return only the {place} item of the list.",
        "Name the {place} of these things: {x}",
        "Which word stands {place} here?",
    )
    asked = ask(rng, wordings, ", ".join(words), place=place)
    return *asked, _only(words, words[at]), words[at]


@family
def nth_item(rng: random.Random) -> Draft:
    words = rng.sample(NOUNS, rng.randint(5, 6))
    at = rng.randint(1, 3)
    wordings = (
        "What is the {place} word in this list?",
        "Return only the {place} item of the list.",
        "Look at these words and name the {place} one: {x}",
    )
    asked = ask(rng, wordings, ", ".join(words), place=_PLACES[at])
    return *asked, _only(words, words[at]), words[at]


def _only(words: list[str], answer: str) -> Check:
    return pick([answer], [word for word in words if word != answer])


@family
def longest_word(rng: random.Random) -> Draft:
    while True:
        words = rng.sample(NOUNS + ADJECTIVES, 4)
        by_length = sorted(words, key=len)
        if len(by_length[-1]) > len(by_length[-2]) and len(by_length[0]) < len(by_length[1]):
            break
    at, which = rng.choice(((-1, "longest"), (0, "shortest")))
    wordings = (
        "Which of these words is the {which}?",
        "Find the {which} word, the one with the {most} letters.",
        "From the words {x}, write only the {which}.",
    )
    most = "most" if which == "longest" else "fewest"
    asked = ask(rng, wordings, ", ".join(words), which=which, most=most)
    return *asked, _only(words, by_length[at]), by_length[at]


@family
def remove_item(rng: random.Random) -> Draft:
    words = rng.sample(NOUNS, 4)
    gone = rng.choice(words)
    rest = [word for word in words if word != gone]
    wordings = (
        'Remove "{gone}" from this list and write the rest.',
        "Rewrite the list without the word {gone}.",
        'Leave out "{gone}" and repeat the other words in the same order: {x}',
    )
    check: Check = [
        {"kind": "ordered", "values": rest, "once": True, "max_words": 10},
        {"kind": "excludes", "words": [gone]},
    ]
    return *ask(rng, wordings, ", ".join(words), gone=gone), check, ", ".join(rest)


def _unsorted(rng: random.Random, items: list[str], wanted: list[str]) -> list[str]:
    """The items in an order that differs from the wanted one, so that an echo fails."""
    while True:
        mixed = rng.sample(items, len(items))
        if mixed != wanted:
            return mixed


@family
def sort_words(rng: random.Random) -> Draft:
    wanted = sorted(rng.sample(NOUNS, rng.choice((3, 4))))
    wordings = (
        "Sort these words in alphabetical order.",
        "Put the following words into the order of the alphabet: {x}",
        "Arrange the words from A to Z.",
    )
    check = {"kind": "ordered", "values": wanted, "once": True, "max_words": 12}
    asked = ask(rng, wordings, ", ".join(_unsorted(rng, wanted, wanted)))
    return *asked, check, ", ".join(wanted)


@family
def sort_numbers(rng: random.Random) -> Draft:
    down = rng.random() < 0.5
    numbers = sorted(rng.sample(range(1, 100), rng.choice((3, 4))), reverse=down)
    wanted = [str(number) for number in numbers]
    ends = ("largest", "smallest") if down else ("smallest", "largest")
    wordings = (
        "Sort these numbers from the {a} to the {b}.",
        "Put the numbers in order, beginning with the {a}: {x}",
        "Order the following numbers so that the {a} comes first and the {b} last.",
    )
    check = {"kind": "ordered", "values": wanted, "once": True, "max_words": 12}
    asked = ask(rng, wordings, ", ".join(_unsorted(rng, wanted, wanted)), a=ends[0], b=ends[1])
    return *asked, check, ", ".join(wanted)


@family
def reverse_list(rng: random.Random) -> Draft:
    words = rng.sample(NOUNS, rng.choice((3, 4)))
    wordings = (
        "Write these words in reverse order.",
        "Turn this list around, so that the last word comes first.",
        "Repeat the words backwards, from the last to the first: {x}",
    )
    check = {"kind": "ordered", "values": words[::-1], "once": True, "max_words": 12}
    return *ask(rng, wordings, ", ".join(words)), check, ", ".join(words[::-1])
