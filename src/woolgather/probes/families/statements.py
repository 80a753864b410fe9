"""Families that decide something about a sentence, and answer in a word or a number."""

from __future__ import annotations

import random

from woolgather.probes.families.shared import Draft, ask, coin, family, number_is, phrase, pick
from woolgather.probes.families.words import ADJECTIVES, CITIES, NAMES, NOUNS, pairs

_DEEDS = pairs(
    """paint=painted; clean=cleaned; visit=visited; repair=repaired; open=opened; close=closed;
    carry=carried; watch=watched; move=moved; cover=covered; wash=washed; count=counted;
    follow=followed; order=ordered; call for=called for; look for=looked for; wait for=waited for"""
)


def _object(rng: random.Random) -> str:
    return f"the {rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}"


@family
def past_or_future(rng: random.Random) -> Draft:
    deed = rng.choice(list(_DEEDS))
    past = coin(rng)
    done = _DEEDS[deed][0] if past else f"will {deed}"
    text = f"{rng.choice(NAMES)} {done} {_object(rng)}."
    wordings = (
        "Does this sentence speak of the past or of the future?",
        "Past or future? {x}",
        "Label the sentence with one word: past or future.",
        "Say whether this has happened or is still to come. Write past or future.",
    )
    right, wrong = ("past", "future") if past else ("future", "past")
    return *ask(rng, wordings, text), pick([right], [wrong], 20), right


@family
def sentence_kind(rng: random.Random) -> Draft:
    name, thing = rng.choice(NAMES), _object(rng)
    deed = rng.choice(list(_DEEDS))
    kinds = {
        "question": f"Did {name} {deed} {thing}?",
        "statement": f"{name} {_DEEDS[deed][0]} {thing}.",
        "command": f"{deed[0].upper()}{deed[1:]} {thing}, {name}!",
    }
    right = rng.choice(list(kinds))
    wordings = (
        "Is this a question, a statement or a command?",
        "Question, statement or command? {x}",
        "Label the sentence as a question, a statement or a command. Write only the label.",
        "Say what kind of sentence this is: question, statement or command.",
    )
    wrong = [kind for kind in kinds if kind != right]
    return *ask(rng, wordings, kinds[right]), pick([right], wrong, 20), right


def _travellers(rng: random.Random, count: int) -> tuple[str, list[str], list[str]]:
    """Returns a text about people in cities, the people, and the cities."""
    people, cities = rng.sample(NAMES, count), rng.sample(CITIES, count)
    lives = rng.choice(("lives in", "works in", "comes from", "has a house in"))
    text = " ".join(f"{p} {lives} {c}." for p, c in zip(people, cities, strict=True))
    return text, people, cities


@family
def mentions(rng: random.Random) -> Draft:
    text, people, cities = _travellers(rng, rng.choice((2, 3)))
    there, all_of = (people, NAMES) if coin(rng) else (cities, CITIES)
    answer = "yes" if coin(rng) else "no"
    asked = rng.choice(there if answer == "yes" else [w for w in all_of if w not in there])
    wordings = (
        "Does the text mention {w}? Answer yes or no.",
        "Is {w} named in this text? Say yes or no.",
        "Yes or no: the word {w} is in the text.",
    )
    check = {"kind": "yes_no", "value": answer, "max_words": 20}
    return *ask(rng, wordings, text, w=asked), check, answer.capitalize()


@family
def people_count(rng: random.Random) -> Draft:
    text, people, _ = _travellers(rng, rng.choice((1, 2, 3, 4)))
    wordings = (
        "How many people are mentioned in this text?",
        "Count the persons in the text and write the number.",
        "Give the number of people that the text speaks of.",
    )
    return *ask(rng, wordings, text), number_is(len(people)), str(len(people))


_ORDINALS = pairs(
    """one=first|1st; two=second|2nd; three=third|3rd; four=fourth|4th; five=fifth|5th; six=sixth|6th;
    seven=seventh|7th; eight=eighth|8th; nine=ninth|9th; ten=tenth|10th; eleven=eleventh|11th;
    twelve=twelfth|12th; thirteen=thirteenth|13th; fourteen=fourteenth|14th; fifteen=fifteenth|15th;
    sixteen=sixteenth|16th; seventeen=seventeenth|17th; eighteen=eighteenth|18th;
    nineteen=nineteenth|19th; twenty=twentieth|20th; thirty=thirtieth|30th; forty=fortieth|40th;
    fifty=fiftieth|50th; sixty=sixtieth|60th; seventy=seventieth|70th; eighty=eightieth|80th;
    ninety=ninetieth|90th"""
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ONES = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@family
def ordinal(rng: random.Random) -> Draft:
    if coin(rng):
        word = rng.choice(list(_ORDINALS))
        right = _ORDINALS[word]
    else:
        ten, one = rng.choice(_TENS), rng.choice(_ONES)
        spoken, digits = _ORDINALS[one]
        word = f"{ten}-{one}"
        right = [f"{ten}-{spoken}", f"{ten} {spoken}", f"{_TENS.index(ten) + 2}{digits}"]
    wordings = (
        'What is the ordinal of "{x}", as two has second?',
        'Write the ordinal number that belongs to "{x}".',
        "Give the ordinal form of this number word, as in first, second, third.",
    )
    return *ask(rng, wordings, word), pick(right, max_words=12), right[0]


@family
def same_text(rng: random.Random) -> Draft:
    one = phrase(rng)
    answer = "yes" if coin(rng) else "no"
    other = one
    while answer == "no" and other == one:
        words = one.split()
        words[rng.randrange(len(words))] = rng.choice([*ADJECTIVES, *NOUNS])
        other = " ".join(words)
    wordings = (
        "Are these two lines the same, word for word? Answer yes or no.",
        "Compare the lines. Say yes if they are equal and no if they differ.",
        "Do both lines have exactly the same words? Write yes or no.",
    )
    check = {"kind": "yes_no", "value": answer, "max_words": 20}
    return *ask(rng, wordings, f"{one}\n{other}"), check, answer.capitalize()
