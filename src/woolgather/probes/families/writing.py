"""Families of free writing under one or two rules, and of structured output."""

from __future__ import annotations

import json
import random

from woolgather.probes.checks import Check
from woolgather.probes.families.shared import Draft, a_, ask, family, free, phrase
from woolgather.probes.families.words import (
    ADJECTIVES,
    AVOIDABLE,
    CITIES,
    NAMES,
    NOUNS,
    STARTERS,
    THINGS,
)


def _thing(rng: random.Random) -> tuple[str, list[str]]:
    """A thing and the forms in which a text may name it."""
    thing = rng.choice(list(THINGS))
    return thing, [thing, THINGS[thing]]


@family
def contain_word(rng: random.Random) -> Draft:
    word = rng.choice(NOUNS + ADJECTIVES)
    wordings = (
        'Write a sentence that contains the word "{w}".',
        "Use the word {w} in a short sentence of your own.",
        'Make up one sentence with the word "{w}" in it.',
        "Give an example sentence for the word {w}.",
    )
    instruction, given = ask(rng, wordings, w=word)
    check: Check = [
        {"kind": "contains", "all": [word]},
        {"kind": "words", "min": 4, "max": 40, "distinct": 3},
        {"kind": "sentences", "max": 1},
        *free(instruction),
    ]
    adjective = word in ADJECTIVES
    reference = f"Everyone agreed that it was {word}." if adjective else _near(word)
    return instruction, given, check, reference


def _near(word: str) -> str:
    return f"My sister stood close to the {word}."


@family
def two_words(rng: random.Random) -> Draft:
    one, other = rng.sample(NOUNS, 2)
    wordings = (
        'Write a sentence with the words "{a}" and "{b}".',
        "Use both {a} and {b} in one sentence.",
        'Make up a sentence in which "{a}" and "{b}" both occur.',
    )
    instruction, given = ask(rng, wordings, a=one, b=other)
    check: Check = [
        {"kind": "contains", "all": [one, other]},
        {"kind": "words", "min": 5, "max": 40, "distinct": 4},
        {"kind": "sentences", "max": 1},
        *free(instruction),
    ]
    return instruction, given, check, f"She walked past the {one} and looked for {a_(other)}."


_ASKED = {
    "What": "makes {a} so hard to forget",
    "Where": "did you see {a}",
    "Why": "do people talk about {a}",
    "How": "would you describe {a}",
    "When": "did you first see {a}",
}


@family
def question(rng: random.Random) -> Draft:
    thing, forms = _thing(rng)
    word = rng.choice(("What", "Where", "Why", "How", "When"))
    wordings = (
        'Write a question about {a} that begins with "{w}".',
        "Ask one question about {a}. Begin with {w}.",
        'Think of a question on {a} whose first word is "{w}", and write it down.',
    )
    instruction, given = ask(rng, wordings, a=a_(thing), w=word)
    check: Check = [
        {"kind": "starts_with", "value": word},
        {"kind": "contains", "any": forms},
        {"kind": "regex", "pattern": r"(?s)[^?]*\?\W*"},
        {"kind": "words", "min": 3, "max": 30},
    ]
    return instruction, given, check, f"{word} {_ASKED[word].format(a=a_(thing))}?"


_NOTES = {
    "a birthday wish": (["birthday"], "Happy birthday, {}, and a wonderful year to you!"),
    "a thank-you note": (
        ["thank", "thanks", "grateful", "gratitude", "appreciate"],
        "Dear {}, thank you for your kind help.",
    ),
    "an apology": (
        [
            "sorry",
            "apology",
            "apologies",
            "apologize",
            "apologise",
            "forgive",
            "forgiveness",
            "regret",
        ],
        "Dear {}, I am sorry that I forgot our meeting.",
    ),
    "a get-well message": (
        ["well", "recovery", "recover", "better", "healing", "feet"],
        "Get well soon, {}!",
    ),
    "a good-night message": (
        ["night", "goodnight", "sleep", "rest", "dreams", "dream"],
        "Good night, {}, and sweet dreams.",
    ),
}


@family
def note(rng: random.Random) -> Draft:
    kind, name = rng.choice(list(_NOTES)), rng.choice(NAMES)
    marks, reference = _NOTES[kind]
    wordings = (
        "Write {k} to {n} in one or two sentences.",
        "I need {k} for {n}. Keep it to two sentences at most.",
        "Compose {k} for my friend {n}, no longer than two sentences.",
    )
    instruction, given = ask(rng, wordings, k=kind, n=name)
    check: Check = [
        {"kind": "contains", "all": [name], "any": marks},
        {"kind": "sentences", "max": 2},
        {"kind": "words", "min": 4, "max": 60, "distinct": 3},
        *free(instruction),
    ]
    return instruction, given, check, reference.format(name)


@family
def start_word(rng: random.Random) -> Draft:
    word = rng.choice(list(STARTERS))
    thing, forms = _thing(rng)
    wordings = (
        'Write a sentence about {a} that begins with the word "{w}".',
        'Start with the word "{w}" and write one sentence about {a}.',
        'Compose a sentence on {a}. Its first word must be "{w}".',
    )
    instruction, given = ask(rng, wordings, a=a_(thing), w=word)
    check: Check = [
        {"kind": "starts_with", "value": word},
        {"kind": "contains", "any": forms},
        {"kind": "words", "min": 4, "max": 40, "distinct": 3},
        {"kind": "sentences", "max": 1},
        {"kind": "no_loop"},
    ]
    return instruction, given, check, f"{word} {STARTERS[word].format(a=a_(thing))}"


@family
def end_word(rng: random.Random) -> Draft:
    word = rng.choice([*NOUNS, *(t for t in THINGS if t not in NOUNS)])
    wordings = (
        'Write a sentence whose last word is "{w}", and nothing else.',
        'End a sentence with the word "{w}". Write only that sentence.',
        'Compose one sentence that finishes with the word "{w}", of at least four words.',
        'Put the word "{w}" at the very end of a sentence about anything you like.',
    )
    instruction, given = ask(rng, wordings, w=word)
    check: Check = [
        {"kind": "ends_with", "value": word},
        {"kind": "sentences", "max": 1},
        {"kind": "words", "min": 4, "max": 40, "distinct": 3},
        *free(instruction),
    ]
    return instruction, given, check, _near(word)


@family
def sentence_count(rng: random.Random) -> Draft:
    thing, forms = _thing(rng)
    count, number = rng.choice(((2, "two"), (3, "three")))
    wordings = (
        "Write exactly {n} sentences about {a}.",
        "Describe {a} in {n} sentences, no more and no fewer.",
        "Tell me something about {a} using exactly {n} sentences.",
        "What comes to mind when you think of {a}? Reply in {n} full sentences.",
    )
    instruction, given = ask(rng, wordings, a=a_(thing), n=number)
    check: Check = [
        {"kind": "sentences", "min": count, "max": count},
        {"kind": "contains", "any": forms},
        {"kind": "words", "min": 4 * count, "max": 40 * count},
        *free(instruction),
    ]
    lines = [f"Nobody here owns {a_(thing)}.", "I once saw one in a book.", "It was very old."]
    return instruction, given, check, " ".join(lines[:count])


@family
def under_words(rng: random.Random) -> Draft:
    thing, forms = _thing(rng)
    most = rng.randint(5, 12)
    wordings = (
        'Describe {a} in at most {k} words, and use the word "{t}".',
        'Write no more than {k} words about {a}; the word "{t}" must be among them.',
        'In {k} words or fewer, say what {a} is. Mention the word "{t}".',
    )
    instruction, given = ask(rng, wordings, a=a_(thing), t=thing, k=most)
    check: Check = [
        {"kind": "words", "min": 3, "max": most, "distinct": 2},
        {"kind": "contains", "any": forms},
        *free(instruction, 4),
    ]
    return instruction, given, check, f"{forms[1].capitalize()} are common around here"


@family
def exact_words(rng: random.Random) -> Draft:
    thing, forms = _thing(rng)
    count = rng.randint(4, 6)
    wordings = (
        "Write a sentence of exactly {k} words about {a}.",
        "In exactly {k} words, say something about {a}, and name it.",
        "Compose a sentence on {a} that has {k} words, neither more nor fewer.",
    )
    instruction, given = ask(rng, wordings, a=a_(thing), k=count)
    check: Check = [
        {"kind": "words", "min": count, "max": count},
        {"kind": "contains", "any": forms},
        *free(instruction, 4),
    ]
    reference = {
        4: "{} are never dull.",
        5: "{} are quite common here.",
        6: "{} were all we talked about.",
    }
    return instruction, given, check, reference[count].format(forms[1].capitalize())


@family
def avoid_word(rng: random.Random) -> Draft:
    thing, forms = _thing(rng)
    word = rng.choice(AVOIDABLE)
    wordings = (
        'Write one sentence about {a} without using the word "{w}".',
        'Describe {a} in a sentence. The word "{w}" is not allowed.',
        'Say something about {a}, in one sentence, and avoid the word "{w}".',
    )
    instruction, given = ask(rng, wordings, a=a_(thing), w=word)
    check: Check = [
        {"kind": "contains", "any": forms},
        {"kind": "excludes", "words": [word]},
        {"kind": "words", "min": 4, "max": 40, "distinct": 3},
        {"kind": "sentences", "max": 1},
        *free(instruction),
    ]
    return instruction, given, check, f"My neighbour once saw {a_(thing)} from her window."


@family
def letter_case(rng: random.Random) -> Draft:
    thing, forms = _thing(rng)
    upper = rng.random() < 0.5
    case, other = ("capital", "small") if upper else ("small", "capital")
    wordings = (
        "Write a sentence about {a} in {case} letters only.",
        "Say something about {a}, and use nothing but {case} letters.",
        "Describe {a} in one sentence, with every letter a {case} letter.",
        "Without a single {other} letter, write a sentence that mentions {a}.",
    )
    instruction, given = ask(rng, wordings, a=a_(thing), case=case, other=other)
    check: Check = [
        {"kind": "case", "value": "upper" if upper else "lower"},
        {"kind": "contains", "any": forms},
        {"kind": "words", "min": 4, "max": 40, "distinct": 3},
        *free(instruction),
    ]
    reference = f"my neighbour once saw {a_(thing)} from her window."
    return instruction, given, check, reference.upper() if upper else reference


@family
def json_object(rng: random.Random) -> Draft:
    name, city, age = rng.choice(NAMES), rng.choice(CITIES), rng.randint(18, 90)
    text, values = rng.choice(
        (
            (f"{name} is {age} years old.", {"name": name, "age": age}),
            (f"{name} lives in {city}.", {"name": name, "city": city}),
            (
                f"{name}, who is {age}, comes from {city}.",
                {"name": name, "age": age, "city": city},
            ),
        )
    )
    keys = ", ".join(f'"{key}"' for key in values)
    wordings = (
        "Write the facts as a JSON object with the keys {keys}.",
        "Turn this sentence into JSON. Use these keys: {keys}. Return only the JSON.",
        "Extract the data and answer with a JSON object that has the keys {keys}.",
    )
    check = {"kind": "json", "type": "object", "values": values, "max_words": 30}
    return *ask(rng, wordings, text, keys=keys), check, json.dumps(values)


@family
def sandwich(rng: random.Random) -> Draft:
    words = phrase(rng)
    mark = rng.choice(("***", "---", "###", "==", "<>", "[]"))
    left, right = (mark[0], mark[1]) if mark in ("<>", "[]") else (mark, mark)
    wordings = (
        "Put {left} before and {right} after this text, without spaces.",
        "Wrap the following words in {left} and {right}: {x}",
        "Write the text between {left} and {right} and add nothing else.",
    )
    check = {"kind": "regex", "pattern": _wrap(left, words, right)}
    return *ask(rng, wordings, words, left=left, right=right), check, f"{left}{words}{right}"


def _wrap(left: str, words: str, right: str) -> str:
    marks = "".join(f"\\{c}" for c in left), "".join(f"\\{c}" for c in right)
    return rf"{marks[0]}\s?{words}\s?{marks[1]}"
