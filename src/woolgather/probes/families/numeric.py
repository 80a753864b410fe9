"""Families about numbers: small sums, comparison and counting."""

from __future__ import annotations

import random
import re

from woolgather.probes.answer_parsing import ONES, TENS
from woolgather.probes.families.shared import Draft, ask, family, number_is, phrase, pick
from woolgather.probes.families.words import ADJECTIVES, GOODS, NAMES, NOUNS, VERBS_ING


@family
def add(rng: random.Random) -> Draft:
    a, b = rng.randint(2, 60), rng.randint(2, 40)
    wordings = (
        "What is {a} + {b}?",
        "Add {a} and {b}.",
        "Compute the sum of {a} and {b}. Give only the result.",
        "How much is {a} plus {b}?",
    )
    return *ask(rng, wordings, a=a, b=b), number_is(a + b, (a, b)), str(a + b)


@family
def subtract(rng: random.Random) -> Draft:
    b = rng.randint(2, 40)
    a = b + rng.randint(2, 50)
    wordings = (
        "What is {a} - {b}?",
        "Subtract {b} from {a}.",
        "How much is {a} minus {b}? Give only the result.",
        "Take {b} away from {a}. What is left?",
    )
    return *ask(rng, wordings, a=a, b=b), number_is(a - b, (a, b)), str(a - b)


@family
def multiply(rng: random.Random) -> Draft:
    a, b = rng.randint(2, 12), rng.randint(3, 15)
    wordings = (
        "What is {a} times {b}?",
        "Multiply {a} by {b}.",
        "Compute {a} x {b} and give only the result.",
        "Find the product of {a} and {b}.",
    )
    return *ask(rng, wordings, a=a, b=b), number_is(a * b, (a, b)), str(a * b)


@family
def word_problem(rng: random.Random) -> Draft:
    name, other = rng.sample(NAMES, 2)
    things = f"{rng.choice(GOODS)}s"
    have, more = rng.randint(5, 20), rng.randint(2, 9)
    away = rng.randint(2, 5)
    stories = (
        (
            f"{name} has {have} {things}, buys {more} more and gives {away} to {other}. "
            f"How many {things} does {name} have now?",
            have + more - away,
        ),
        (
            f"There are {away} boxes with {more} {things} in each. "
            f"How many {things} are there altogether?",
            away * more,
        ),
        (
            f"{other} owns {have} {things} and {name} owns {more} more than that. "
            f"How many {things} does {name} own?",
            have + more,
        ),
        (
            f"A shop had {have + more} {things} in the morning and sold {more} by noon. "
            f"How many {things} were left?",
            have,
        ),
    )
    story, answer = rng.choice(stories)
    given = [int(number) for number in re.findall(r"\d+", story)]
    return story, "", number_is(answer, given, max_words=80), str(answer)


@family
def which_number(rng: random.Random) -> Draft:
    a, b = rng.sample(range(3, 1000), 2)
    larger = rng.random() < 0.5
    answer = max(a, b) if larger else min(a, b)
    wordings = (
        "Which number is {word}, {a} or {b}? Answer with the number only.",
        "Write only the {word} of the two numbers {a} and {b}.",
        "Compare {a} with {b} and give just the {word} one.",
    )
    asked = ask(rng, wordings, a=a, b=b, word="larger" if larger else "smaller")
    other = a + b - answer
    check = pick([str(answer), *in_words(answer)], [str(other), *in_words(other)], 20)
    return *asked, check, str(answer)


@family
def count_words(rng: random.Random) -> Draft:
    text = f"{phrase(rng)} and {phrase(rng)}"
    text = " ".join(text.split()[: rng.randint(3, 9)])
    wordings = (
        "How many words are in this text?",
        'Count the words in "{x}".',
        "Give the number of words below.",
    )
    count = len(text.split())
    return *ask(rng, wordings, text), number_is(count, unit=("words", "word")), str(count)


@family
def count_letters(rng: random.Random) -> Draft:
    word = rng.choice(NOUNS + ADJECTIVES + VERBS_ING)
    wordings = (
        'How many letters does the word "{x}" have?',
        "Count the letters of {x}.",
        "Of how many letters is this word made?",
        'Give the length of "{x}" in letters.',
    )
    return (
        *ask(rng, wordings, word),
        number_is(len(word), unit=("letters", "letter", "characters")),
        str(len(word)),
    )


def in_words(number: int) -> list[str]:
    """Returns how a number from 0 to 999 is written in words, with and without "and" and a hyphen."""
    hundreds, rest = divmod(number, 100)
    small = ONES[rest] if rest < 20 else TENS[rest // 10 - 2]
    low = [small] if rest < 20 or not rest % 10 else [f"{small}{s}{ONES[rest % 10]}" for s in "- "]
    if not hundreds:
        return low
    top = f"{ONES[hundreds]} hundred"
    return [f"{top}{link}{end}" for end in low for link in (" ", " and ")] if rest else [top]
