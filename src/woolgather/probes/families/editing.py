"""Families that correct, extend, cut or lay out a text, or write a short one."""

from __future__ import annotations

import random
import re

from woolgather.probes.checks import Check
from woolgather.probes.families.numeric import in_words
from woolgather.probes.families.shared import Draft, a_, ask, coin, family, free, pick, sentence
from woolgather.probes.families.words import ADJECTIVES, CITIES, NAMES, NOUNS, THINGS


@family
def fix_spelling(rng: random.Random) -> Draft:
    word = rng.choice([noun for noun in NOUNS if len(noun) > 4])
    at = rng.choice([k for k in range(1, len(word) - 2) if word[k] != word[k + 1]])
    wrong = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    wordings = (
        'Correct the spelling of "{x}".',
        "This word is misspelt. Write it correctly.",
        'Two letters of "{x}" have changed places. What is the right word?',
    )
    return *ask(rng, wordings, wrong), pick([word]), word


@family
def append_word(rng: random.Random) -> Draft:
    noun, word = (
        rng.choice(NOUNS),
        rng.choice(("again", "together", "today", "twice", "too", "alone")),
    )
    text = f"We saw the {rng.choice(ADJECTIVES)} {noun}"
    wordings = (
        'Add the word "{w}" to the end of this sentence.',
        'Write the sentence once more, with "{w}" as an additional last word.',
        'Put "{w}" behind the last word: {x}',
    )
    right = f"{text} {word}."
    return *ask(rng, wordings, f"{text}.", w=word), {"kind": "exact", "value": right}, right


@family
def drop_last_word(rng: random.Random) -> Draft:
    words = [*rng.sample(ADJECTIVES, 2), *rng.sample(NOUNS, rng.choice((2, 3)))]
    first = coin(rng)
    wordings = (
        "Write these words without the {w} one.",
        "Leave out the {w} word and copy the rest: {x}",
        "Repeat the text, but drop its {w} word.",
    )
    right = " ".join(words[1:] if first else words[:-1])
    asked = ask(rng, wordings, " ".join(words), w="first" if first else "last")
    return *asked, {"kind": "exact", "value": right}, right


@family
def first_sentence(rng: random.Random) -> Draft:
    name, other = rng.sample(NAMES, 2)
    lines = [
        f"{name} bought {a_(rng.choice(NOUNS))} in {rng.choice(CITIES)}.",
        sentence(rng.choice(NOUNS)),
        f"{other} has never been so {rng.choice(ADJECTIVES)}.",
    ]
    rng.shuffle(lines)
    at, place = rng.choice(((0, "first"), (2, "last")))
    wordings = (
        "Copy only the {w} sentence of this text.",
        "Repeat the {w} sentence, word for word, and nothing else.",
        "What is the {w} sentence below?",
    )
    asked = ask(rng, wordings, " ".join(lines), w=place)
    return *asked, {"kind": "exact", "value": lines[at]}, lines[at]


@family
def own_lines(rng: random.Random) -> Draft:
    words = rng.sample(NOUNS, rng.choice((3, 4)))
    wordings = (
        "Write each of these words on a line of its own.",
        "Turn the list into lines, one word per line: {x}",
        "Put every word on a new line and leave out the commas.",
    )
    check: Check = [
        {"kind": "lines", "min": len(words), "max": len(words)},
        {"kind": "ordered", "values": words, "once": True},
        {"kind": "words", "max": len(words)},
    ]
    return *ask(rng, wordings, ", ".join(words)), check, "\n".join(words)


@family
def key_value(rng: random.Random) -> Draft:
    name, city, age = rng.choice(NAMES), rng.choice(CITIES), rng.randint(18, 90)
    wordings = (
        'Write the facts on three lines that begin with "Name:", "Age:" and "City:".',
        "Turn the sentence into three lines of the form Name: ..., Age: ..., City: ...",
        "Fill in this form with the facts from the text. Name: / Age: / City:",
    )
    text = rng.choice(
        (
            f"{name}, who is {age}, comes from {city}.",
            f"{name} is {age} years old and lives in {city}.",
        )
    )
    lines = (("Name", name), ("Age", str(age)), ("City", city))
    pattern = r"[\s,/;]+".join(rf"{key}\s*:\s*{re.escape(value)}\.?" for key, value in lines)
    check = {"kind": "regex", "pattern": pattern, "ignore_case": True}
    return *ask(rng, wordings, text), check, "\n".join(f"{key}: {value}" for key, value in lines)


@family
def digits_words(rng: random.Random) -> Draft:
    number = rng.randint(2, 99)
    if coin(rng):
        wordings: tuple[str, ...] = (
            "Write the number {n} in words.",
            "Spell out {n} as a word.",
            "How do you write {n} in letters?",
        )
        return *ask(rng, wordings, n=number), pick(in_words(number)), in_words(number)[0]
    wordings = (
        'Write "{n}" in digits.',
        "Which figure stands for the number {n}?",
        "Turn the word {n} into a number written with digits.",
    )
    check = {"kind": "contains", "any": [str(number)], "max_words": 20}
    return *ask(rng, wordings, n=in_words(number)[0]), check, str(number)


def _told(thing: str) -> list[str]:
    return [thing, THINGS[thing]]


@family
def explain_thing(rng: random.Random) -> Draft:
    thing, reader = rng.choice(list(THINGS)), rng.choice(("a child", "a visitor", "my grandfather"))
    wordings = (
        "Explain to {r} in one or two sentences what {a} is.",
        "What is {a}? Tell {r} in at most two sentences, and name it.",
        "{r} asks what {a} is. Answer in no more than two sentences that name it.",
    )
    instruction, given = ask(rng, wordings, a=a_(thing), r=reader)
    instruction = instruction[0].upper() + instruction[1:]
    check: Check = [
        {"kind": "contains", "any": _told(thing)},
        {"kind": "sentences", "min": 1, "max": 2},
        {"kind": "words", "min": 6, "max": 70, "distinct": 5},
        {"kind": "regex", "pattern": r"(?s)[^?]*"},
        *free(instruction),
    ]
    reference = f"{_told(thing)[1].capitalize()} are something that nearly everybody has met with."
    return instruction, given, check, reference


_AIMS = (
    "sleeping well", "saving water", "learning a language", "keeping a kitchen clean", "baking bread",
    "growing tomatoes", "packing a suitcase", "making new friends", "writing a letter", "staying warm",
    "reading more", "eating less sugar", "caring for a dog", "riding a bicycle safely", "saving money",
    "giving a speech", "drawing a face", "cooking rice", "moving house", "planning a birthday party",
    "keeping plants alive", "getting up early", "remembering names", "walking in the mountains",
    "cleaning windows", "choosing a present", "calming a child", "playing chess", "fixing a bicycle",
    "taking notes",
)  # fmt: skip


@family
def tips(rng: random.Random) -> Draft:
    aim = rng.choice(_AIMS)
    count, number = rng.choice(((2, "two"), (3, "three"), (4, "four")))
    wordings = (
        "Give {n} tips for {a} as a numbered list.",
        "Make a numbered list of {n} pieces of advice on {a}.",
        "Write down {n} hints about {a}, and number them.",
    )
    instruction, given = ask(rng, wordings, n=number, a=aim)
    check: Check = [
        {"kind": "items", "count": count, "style": "numbered", "max_item_words": 45},
        {"kind": "words", "min": 3 * count, "max": 50 * count, "distinct": 3 * count},
        {"kind": "no_loop"},
    ]
    hints = (
        "Begin early and take your time.",
        "Ask somebody who has done it.",
        "Try it out first.",
        "Write down what went wrong.",
    )
    lines = [f"{k}. {hint}" for k, hint in enumerate(hints[:count], 1)]
    return instruction, given, check, "\n".join(lines)


_OPENINGS = (
    "On Monday the",
    "Last winter the",
    "Behind the house the",
    "Every evening the",
    "At noon the",
)


@family
def continue_from(rng: random.Random) -> Draft:
    start = f"{rng.choice(_OPENINGS)} {rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}"
    wordings = (
        'Write a sentence that begins like this: "{s}"',
        'Finish the sentence "{s} ..." and write all of it.',
        'Continue from these words to the end of the sentence, and repeat them first: "{s}"',
    )
    instruction, given = ask(rng, wordings, s=start)
    length = len(start.split())
    check: Check = [
        {"kind": "starts_with", "value": start},
        {"kind": "words", "min": length + 2, "max": 50, "distinct": length + 1},
        {"kind": "sentences", "max": 1},
        {"kind": "no_loop"},
    ]
    return instruction, given, check, f"{start} was seen by everybody in our street."
