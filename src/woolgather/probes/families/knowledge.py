"""Families that ask for a word or a fact that most people know."""

from __future__ import annotations

import random

from woolgather.probes.families.accepted import accepted
from woolgather.probes.families.shared import Draft, ask, family, pick
from woolgather.probes.families.words import (
    CAPITAL_SPELLINGS,
    CAPITALS,
    DAYS,
    GAPS,
    LETTERED,
    MONTHS,
    OPPOSITES,
    PASTS,
    PLURALS,
)


@family
def opposite(rng: random.Random) -> Draft:
    word = rng.choice(list(OPPOSITES))
    wordings = (
        'What is the opposite of "{x}"?',
        "Give a word that means the opposite of {x}.",
        "Write an antonym of the word {x}.",
        "Name the opposite of this word.",
    )
    right = OPPOSITES[word]
    return *ask(rng, wordings, word), pick(right), right[0]


@family
def capital(rng: random.Random) -> Draft:
    country = rng.choice(list(CAPITALS))
    city = CAPITALS[country]
    wordings = (
        "What is the capital of {x}?",
        "Name the capital city of {x}.",
        "Which city is the capital of {x}? Answer with the name of the city.",
        "Give the capital of this country.",
    )
    right = [city, *CAPITAL_SPELLINGS.get(city, [])]
    asked = ask(rng, wordings, country)
    return *asked, pick(right), f"The capital is {city}."


@family
def plural(rng: random.Random) -> Draft:
    one = rng.choice(list(PLURALS))
    wordings = (
        'What is the plural of "{x}"?',
        'Write the plural form of the word "{x}".',
        'One {x}, two ... how does the word "{x}" change? Give only the plural.',
        "Give the plural of this noun.",
    )
    many = PLURALS[one]
    return *ask(rng, wordings, one), pick(many), many[0]


@family
def past_tense(rng: random.Random) -> Draft:
    verb = rng.choice(list(PASTS))
    wordings = (
        'What is the simple past tense of the verb "{x}"?',
        'Write the past form of "{x}", as in "Yesterday I ...".',
        "Put this verb into the simple past.",
        'Today I {x}. Which form of "{x}" do I use for yesterday?',
    )
    past = PASTS[verb]
    return *ask(rng, wordings, verb), pick(past), past[0]


@family
def fill_in(rng: random.Random) -> Draft:
    gap = rng.choice(list(GAPS))
    wordings = (
        "Fill in the blank.",
        "Which word is missing in this sentence?",
        "Complete the sentence with the missing word.",
        "Give the word that belongs in the gap: {x}",
        "Replace the line (___) by a fitting word.",
    )
    right = GAPS[gap]
    return *ask(rng, wordings, gap), pick(right), right[0]


@family
def calendar(rng: random.Random) -> Draft:
    cycle, unit = rng.choice(((DAYS, "day"), (MONTHS, "month"), (MONTHS, "month")))
    at = rng.randrange(len(cycle))
    step, words = rng.choice(
        ((1, "right after"), (-1, "right before"), (2, "two {u}s after"), (-2, "two {u}s before"))
    )
    known, answer = cycle[at], cycle[(at + step) % len(cycle)]
    wordings = (
        "Which {unit} comes {words} {x}?",
        "Name the {unit} that is {words} {x}.",
        "Tell me which {unit} falls {words} {x}.",
        "What {unit} is {words} {x}?",
    )
    asked = ask(rng, wordings, known, unit=unit, words=words.format(u=unit))
    return *asked, pick([answer], [c for c in cycle if c not in (known, answer)]), answer


_TOPICS = {
    "an animal": "animals",
    "a country": "countries",
    "a fruit": "fruits",
    "a bird": "birds",
    "a colour": "colours",
    "a vegetable": "vegetables",
    "a month of the year": "months of the year",
    "a part of the body": "body parts",
}


@family
def first_letter(rng: random.Random) -> Draft:
    kind = rng.choice(list(LETTERED))
    names = LETTERED[kind]
    by_letter = {name[0].upper(): sorted({n for n in names if n[0] == name[0]}) for name in names}
    # Letters with hardly an item are left out: there a right answer may be one we do not know.
    letter = rng.choice(sorted(key for key, found in by_letter.items() if len(found) > 1))
    right = by_letter[letter]
    wordings = (
        "Name {kind} that starts with the letter {letter}.",
        "Give me {kind} beginning with {letter}.",
        'Think of {kind} whose name begins with "{letter}" and write it down.',
    )
    asked = ask(rng, wordings, kind=kind, letter=letter)
    check = {"kind": "items", "count": 1, "among": accepted(_TOPICS[kind]), "initial": letter}
    return *asked, {**check, "max_words": 30}, right[0]
