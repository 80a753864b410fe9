"""Families that copy a text or change it by a rule."""

from __future__ import annotations

import random
import re

from woolgather.probes.families.shared import Draft, ask, family, phrase, sentence
from woolgather.probes.families.words import ADJECTIVES, NOUNS


@family
def copy(rng: random.Random) -> Draft:
    words = phrase(rng)
    wordings = (
        'Repeat this phrase and write nothing else: "{x}"',
        'Write exactly the following words: "{x}"',
        'Copy the text between the quotation marks, word for word: "{x}"',
        'Say "{x}" and nothing more.',
    )
    return *ask(rng, wordings, words), {"kind": "exact", "value": words}, words


@family
def copy_brackets(rng: random.Random) -> Draft:
    inside, before, after = (" ".join(phrase(rng).split()[:3]) for _ in range(3))
    wordings = (
        "Copy only the words that stand between the square brackets.",
        "Which words are inside the brackets? Write just those words.",
        "Return the bracketed part of this text, without the brackets.",
    )
    asked = ask(rng, wordings, f"{before} [{inside}] {after}")
    return *asked, {"kind": "exact", "value": inside}, inside


@family
def uppercase(rng: random.Random) -> Draft:
    words = phrase(rng)
    wordings = (
        "Rewrite this text in capital letters only.",
        "Convert the following words to uppercase.",
        'Write "{x}" in all capitals.',
        "Put every letter of this text into upper case and change nothing else.",
    )
    check = {"kind": "exact", "value": words.upper(), "case": True}
    return *ask(rng, wordings, words), check, words.upper()


@family
def lowercase(rng: random.Random) -> Draft:
    words = phrase(rng)
    wordings = (
        'Rewrite "{x}" in lowercase letters.',
        "Convert these words to small letters, with no capitals: {x}",
        'Change the text "{x}" to lower case and return only the result.',
    )
    check = {"kind": "exact", "value": words, "case": True}
    return *ask(rng, wordings, words.upper()), check, words


@family
def title_case(rng: random.Random) -> Draft:
    words = [*rng.sample(ADJECTIVES, 2), rng.choice(NOUNS)]
    title = " ".join(word.capitalize() for word in words)
    wordings = (
        "Capitalize the first letter of each word.",
        "Rewrite this so that every word begins with a capital letter.",
        'Write "{x}" as a title, with each word capitalized.',
    )
    return (
        *ask(rng, wordings, " ".join(words)),
        {"kind": "exact", "value": title, "case": True},
        title,
    )


@family
def replace_word(rng: random.Random) -> Draft:
    old, new = rng.sample(NOUNS, 2)
    wordings = (
        'Replace the word "{old}" with "{new}" in this sentence.',
        'Rewrite the sentence, using "{new}" instead of "{old}".',
        'In the sentence below, change "{old}" to "{new}" and keep the rest.',
    )
    check = {"kind": "exact", "value": sentence(new)}
    return *ask(rng, wordings, sentence(old), old=old, new=new), check, sentence(new)


@family
def join(rng: random.Random) -> Draft:
    words = rng.sample(NOUNS, rng.choice((3, 4)))
    name, sign = rng.choice((("hyphens", "-"), ("slashes", "/"), ("plus signs", "+")))
    wordings = (
        "Join these words with {name} and no spaces.",
        "Write the words below as one string, separated by {name} instead of spaces.",
        "Connect the following words using {name}, without spaces: {x}",
    )
    asked = ask(rng, wordings, " ".join(words), name=name)
    return *asked, {"kind": "exact", "value": sign.join(words)}, sign.join(words)


@family
def spell(rng: random.Random) -> Draft:
    word = rng.choice(NOUNS + ADJECTIVES)
    spelled = "-".join(word)
    wordings = (
        'Spell the word "{x}" with a hyphen between the letters, as in c-a-t.',
        'Write out the letters of "{x}" one by one, separated by hyphens.',
        "Put a hyphen between each letter of this word and the next.",
    )
    return *ask(rng, wordings, word), {"kind": "exact", "value": spelled}, spelled


@family
def repeat(rng: random.Random) -> Draft:
    word, times = rng.choice(NOUNS), rng.randint(2, 5)
    number = ("two", "three", "four", "five")[times - 2]
    wordings = (
        'Write the word "{x}" {number} times.',
        'Say "{x}" exactly {number} times and nothing else.',
        'Repeat the word "{x}" so that it appears {number} times in a row.',
    )
    pattern = rf"\W*(?:{re.escape(word)}\W+){{{times - 1}}}{re.escape(word)}\W*"
    check = {"kind": "regex", "pattern": pattern, "ignore_case": True}
    return *ask(rng, wordings, word, number=number), check, " ".join([word] * times)
