"""Families that decide about a word or a text, or find something in it."""

from __future__ import annotations

import random

from woolgather.probes.checks import Check
from woolgather.probes.families.shared import (
    Draft,
    a_,
    ask,
    coin,
    family,
    number_is,
    phrase,
    pick,
)
from woolgather.probes.families.words import (
    ADJECTIVES,
    CITIES,
    COMPLAINTS,
    GOODS,
    KINDS,
    MONTHS,
    NAMES,
    NOUNS,
    PRAISE,
    REVIEWED,
    pairs,
)


@family
def sentiment(rng: random.Random) -> Draft:
    good = coin(rng)
    thing = rng.choice(REVIEWED)
    remarks = rng.sample(PRAISE if good else COMPLAINTS, 2)
    opening = rng.choice(
        ("About the {t}.", "This is my view of the {t}.", "Here is what I thought of the {t}.")
    )
    review = " ".join([opening.format(t=thing), *remarks])
    wordings = (
        "Is this review positive or negative? Answer with one word.",
        "Label the sentiment of the text as positive or negative.",
        "Decide whether the customer's opinion is positive or negative.",
        "Classify this review: positive or negative.",
    )
    right, wrong = ("positive", "negative") if good else ("negative", "positive")
    return *ask(rng, wordings, review), pick([right], [wrong]), right


@family
def category(rng: random.Random) -> Draft:
    kinds = draw_kinds(rng, 3)
    kind = rng.choice(kinds)
    wordings = (
        "Put {x} into one of these groups: {k[0]}, {k[1]}, {k[2]}.",
        "Which group does this word belong to: {k[0]}, {k[1]} or {k[2]}?",
        "Choose the right label for {x}: {k[0]}, {k[1]}, {k[2]}.",
    )
    word = rng.choice(KINDS[kind])
    wrong = [form for other in kinds if other != kind for form in (other, f"{other}s")]
    return *ask(rng, wordings, word, k=kinds), pick([kind, f"{kind}s"], wrong), kind


def draw_kinds(rng: random.Random, count: int) -> list[str]:
    """Kinds no member of which could be taken for another's (a plum is a fruit and a tree)."""
    plant = rng.choice(("fruit", "tree", "vegetable"))
    clashing = {"fruit", "tree", "vegetable"} - {plant}
    return rng.sample([kind for kind in KINDS if kind not in clashing], count)


@family
def odd_one_out(rng: random.Random) -> Draft:
    kind, other = draw_kinds(rng, 2)
    odd, same = rng.choice(KINDS[other]), rng.sample(KINDS[kind], 3)
    words = rng.sample([odd, *same], 4)
    wordings = (
        "Which of these words does not belong with the others?",
        "Find the odd one out: {x}",
        "Three of these four things are alike. Name the one that is different.",
    )
    return *ask(rng, wordings, ", ".join(words)), pick([odd], same), odd


@family
def yes_no_kind(rng: random.Random) -> Draft:
    kind, other = draw_kinds(rng, 2)
    member = rng.choice(KINDS[kind])
    answer, asked_kind = ("yes", kind) if coin(rng) else ("no", other)
    wordings = (
        "Is the word {x} the name of {k}? Answer yes or no.",
        "Answer with yes or no: does {x} name {k}?",
        "Yes or no: {x} is a word for {k}.",
    )
    check = {"kind": "yes_no", "value": answer, "max_words": 60}
    return *ask(rng, wordings, member, k=a_(asked_kind)), check, answer.capitalize()


@family
def yes_no_number(rng: random.Random) -> Draft:
    a, b = rng.sample(range(2, 100), 2)
    greater = coin(rng)
    answer = "yes" if (a > b) == greater else "no"
    word = rng.choice(("greater", "larger") if greater else ("smaller", "less"))
    wordings = (
        "Is {a} {word} than {b}? Answer yes or no.",
        "Answer only yes or no: {a} is {word} than {b}.",
        "Say yes if this is right and no if it is wrong: {a} is {word} than {b}.",
    )
    check = {"kind": "yes_no", "value": answer, "max_words": 30}
    return *ask(rng, wordings, a=a, b=b, word=word), check, answer.capitalize()


_ORDERS = (
    "{name} ordered {n} {things} from a shop in {city} on {day} {month} for ${price}.",
    "On {day} {month}, {name} sold {n} {things} in {city} and earned ${price}.",
    "In {city}, {name} rented {n} {things} for ${price}, beginning on {day} {month}.",
    "The {n} {things} cost {name} ${price} and reached {city} on {day} {month}.",
)


def draw_order(rng: random.Random) -> tuple[str, dict[str, str]]:
    facts = {
        "name": rng.choice(NAMES),
        "city": rng.choice(CITIES),
        "n": str(rng.randint(2, 9)),
        "things": f"{rng.choice(GOODS)}s",
        "day": str(rng.randint(1, 28)),
        "month": rng.choice(MONTHS),
        "price": str(rng.randint(30, 400)),
    }
    return rng.choice(_ORDERS).format(**facts), facts


@family
def extract_name(rng: random.Random) -> Draft:
    text, facts = draw_order(rng)
    wordings = (
        "What is the name of the person in this text? Give only the name.",
        "Extract the person's name.",
        "Who is this sentence about? Answer with the name alone.",
    )
    wrong = [facts[key] for key in ("city", "month", "price", "things")]
    return *ask(rng, wordings, text), pick([facts["name"]], wrong, 20), facts["name"]


def _date(facts: dict[str, str]) -> str:
    """A pattern of the ways in which a day and a month are written."""
    day, month, number = facts["day"], facts["month"], MONTHS.index(facts["month"]) + 1
    name = rf"{month[:3]}(?:{month[3:]}|\b\.?)" if len(month) > 3 else month
    nth = rf"0?{day}(?:st|nd|rd|th)?"
    digits = rf"0?{day}[./-]0?{number}|0?{number}[./-]0?{day}"
    return rf"\b(?:{nth}\.?\s+(?:of\s+)?{name}|{name}\s+(?:the\s+)?{nth}|{digits})(?!\d)"


@family
def extract_date(rng: random.Random) -> Draft:
    text, facts = draw_order(rng)
    wordings = (
        "Which date is mentioned? Write only the day and the month.",
        "Extract the date from this sentence.",
        "Find the date in the text and return nothing else.",
    )
    check: Check = [
        {"kind": "regex", "pattern": _date(facts), "mode": "search", "ignore_case": True},
        {"kind": "excludes", "words": [facts["name"], facts["city"]], "max_words": 14},
        {"kind": "regex", "pattern": r"(?s)(?!.*\d{3}).*"},
    ]
    return *ask(rng, wordings, text), check, f"{facts['day']} {facts['month']}"


@family
def extract_price(rng: random.Random) -> Draft:
    text, facts = draw_order(rng)
    wordings = (
        "How much money is mentioned in this text? Give only the amount.",
        "Extract the amount of money.",
        "Find the sum in dollars and write nothing else.",
    )
    check = {"kind": "number", "value": int(facts["price"]), "which": "only", "max_words": 12}
    return *ask(rng, wordings, text), check, f"${facts['price']}"


@family
def who_has(rng: random.Random) -> Draft:
    people, things = rng.sample(NAMES, 3), rng.sample(GOODS, 3)
    owns = [f"{p} has the {t}" for p, t in zip(people, things, strict=True)]
    which = rng.randrange(3)
    wordings = (
        "Who has the {thing}?",
        "Read the text and name the person who has the {thing}.",
        "Tell me whose {thing} it is, with one name.",
    )
    asked = ask(rng, wordings, f"{owns[0]}, {owns[1]} and {owns[2]}.", thing=things[which])
    wrong = [person for person in people if person != people[which]]
    return *asked, pick([people[which]], wrong), people[which]


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
