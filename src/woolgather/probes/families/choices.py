"""Families that choose, compare or look something up."""

from __future__ import annotations

import random
from typing import TypeVar

from woolgather.probes.checks import Check
from woolgather.probes.families.numeric import in_words
from woolgather.probes.families.reading import draw_kinds, draw_order
from woolgather.probes.families.shared import Draft, ask, coin, family, number_is, pick
from woolgather.probes.families.words import CITIES, GAPS, GOODS, KINDS, NAMES, NOUNS

T = TypeVar("T")


@family
def which_kind(rng: random.Random) -> Draft:
    kinds = draw_kinds(rng, 3)
    words = [rng.choice(KINDS[kind]) for kind in kinds]
    at = rng.randrange(3)
    wordings = (
        "Which of these words names a {kind}?",
        "Find the {kind} in this list and write it down.",
        "Only one of the following is a {kind}: {x}. Which one?",
    )
    article = {"insect": "n insect"}.get(kinds[at], f" {kinds[at]}")
    wording = [text.replace(" a {kind}", f" a{article}") for text in wordings]
    asked = ask(rng, wording, ", ".join(words), kind=kinds[at])
    wrong = [word for word in words if word != words[at]]
    return *asked, pick([words[at], f"{words[at]}s"], wrong), words[at]


_SIZES = (
    ("ant", "ladybug", "pea", "grain of rice"),
    ("mouse", "spoon", "key", "strawberry"),
    ("cat", "shoe", "melon", "kettle"),
    ("horse", "sofa", "piano", "bicycle"),
    ("elephant", "bus", "truck", "garage"),
    ("church", "castle", "football stadium", "ocean liner"),
    ("mountain", "city", "desert", "lake"),
)
"""Things in groups, each much larger than those of the group before."""


@family
def bigger_thing(rng: random.Random) -> Draft:
    groups = rng.sample(range(len(_SIZES)), 2)
    one, other = (rng.choice(_SIZES[group]) for group in groups)
    big = coin(rng)
    right = one if (groups[0] > groups[1]) == big else other
    word, plain = ("bigger", "big") if big else ("smaller", "small")
    wordings = (
        "Of {a} and {b}, which one is usually {w}?",
        "Here are two things: {a}, {b}. Name the {w} one.",
        "If you put {a} and {b} side by side, which of them looks {p}?",
    )
    asked = ask(rng, wordings, w=word, p=plain, a=_the(one), b=_the(other))
    return *asked, pick([right], [other if right == one else one]), right


def _the(thing: str) -> str:
    return f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}"


@family
def true_false(rng: random.Random) -> Draft:
    gap, other = rng.sample(list(GAPS), 2)
    word = GAPS[gap][0]
    true = coin(rng)
    if not true:
        while GAPS[other][0] in GAPS[gap] or set(GAPS[other]) & set(GAPS[gap]):
            other = rng.choice(list(GAPS))
        word = GAPS[other][0]
    wordings = (
        "True or false? {x}",
        "Decide whether this statement is true or false.",
        "Answer with true or false: {x}",
        "Is the following sentence true or false?",
    )
    right, wrong = ("true", "false") if true else ("false", "true")
    return *ask(rng, wordings, gap.replace("___", word)), pick([right], [wrong]), right


def _inside(rng: random.Random, right: T, items: list[T]) -> list[T]:
    """The items in an order in which the right one is neither the first nor the last."""
    rest = [item for item in items if item != right]
    rng.shuffle(rest)
    rest.insert(rng.randint(1, len(rest) - 1), right)
    return rest


@family
def same_letter(rng: random.Random) -> Draft:
    word = rng.choice([noun for noun in NOUNS if noun != "letter"])  # the wordings say "letter"
    others = rng.sample([noun for noun in NOUNS if noun[0] != word[0]], 3)
    wordings = (
        "Which of these words begins with the letter {l}?",
        "Find the word that starts with {l}: {x}",
        "Write down the one word in the list whose first letter is {l}.",
    )
    asked = ask(rng, wordings, ", ".join(_inside(rng, word, [word, *others])), l=word[0].upper())
    return *asked, pick([word], others), word


@family
def largest_number(rng: random.Random) -> Draft:
    numbers = rng.sample(range(2, 100), 4)
    big = coin(rng)
    right = max(numbers) if big else min(numbers)
    wordings = (
        "Which of these numbers is the {w}?",
        "Find the {w} number: {x}",
        "Look at the numbers and write only the {w} of them.",
    )
    asked = ask(
        rng,
        wordings,
        ", ".join(map(str, _inside(rng, right, numbers))),
        w="largest" if big else "smallest",
    )
    wrong = [form for n in numbers if n != right for form in (str(n), *in_words(n))]
    return *asked, pick([str(right), *in_words(right)], wrong), str(right)


@family
def even_odd(rng: random.Random) -> Draft:
    number = rng.randint(3, 400)
    wordings = (
        "Is {n} an even or an odd number?",
        "Even or odd: {n}",
        "Say whether the number {n} is odd or even.",
    )
    right, wrong = ("odd", "even") if number % 2 else ("even", "odd")
    return *ask(rng, wordings, n=number), pick([right], [wrong]), right


_UNITS = {
    ("weeks", "days"): 7,
    ("years", "months"): 12,
    ("hours", "minutes"): 60,
    ("minutes", "seconds"): 60,
    ("metres", "centimetres"): 100,
    ("dozen eggs", "eggs"): 12,
    ("decades", "years"): 10,
    ("kilometres", "metres"): 1000,
}


@family
def units(rng: random.Random) -> Draft:
    large, small = rng.choice(list(_UNITS))
    count = rng.randint(2, 12)
    wordings = (
        "How many {s} are there in {k} {l}?",
        "Convert {k} {l} to {s}.",
        "{k} {l}: how many {s} is that?",
    )
    value = count * _UNITS[large, small]
    check = number_is(value, (count, _UNITS[large, small]))
    return *ask(rng, wordings, k=count, l=large, s=small), check, str(value)


@family
def next_number(rng: random.Random) -> Draft:
    start, step = rng.randint(1, 30), rng.choice((1, 2, 3, 4, 5, 10, -1, -2))
    start += 10 if step < 0 else 0
    row = [start + step * k for k in range(5)]
    wordings = (
        "Which number comes next? {x}",
        "Continue the row with one more number.",
        "What number follows in this sequence?",
    )
    asked = ask(rng, wordings, ", ".join(map(str, row[:4])))
    return *asked, number_is(row[4], (*row[:4], abs(step))), str(row[4])


@family
def extract_city(rng: random.Random) -> Draft:
    text, facts = draw_order(rng)
    wordings = (
        "Which city is mentioned in this text? Give only its name.",
        "Extract the name of the city.",
        "Find the city in the sentence and return nothing else.",
    )
    wrong = [facts[key] for key in ("name", "month", "price", "things")]
    return *ask(rng, wordings, text), pick([facts["city"]], wrong, 20), facts["city"]


@family
def look_up(rng: random.Random) -> Draft:
    things, prices = rng.sample(GOODS, 4), rng.sample(range(3, 90), 4)
    at = rng.choice((1, 2))  # an echo begins with the first price and ends with the last
    rows = "\n".join(f"{thing}: ${price}" for thing, price in zip(things, prices, strict=True))
    wordings = (
        "What does the {t} cost according to this price list?",
        "Look up the price of the {t}.",
        "How many dollars must one pay for the {t}?",
    )
    right = prices[at]
    wrong = [form for price in prices if price != right for form in (str(price), *in_words(price))]
    asked = ask(rng, wordings, rows, t=things[at])
    return *asked, pick([str(right), *in_words(right)], wrong), f"${right}"


_REASONS = {
    "it rained": ["rain", "rained", "raining", "rainy"],
    "the bus was late": ["bus"],
    "the door was locked": ["locked", "door"],
    "dinner was ready": ["dinner"],
    "the light went out": ["light"],
    "the baby was asleep": ["baby"],
    "the shop was closed": ["shop"],
    "the wind was strong": ["wind"],
    "the soup was too salty": ["soup", "salty"],
    "the dog barked": ["dog", "barked", "barking"],
    "the car broke down": ["car"],
    "the roof leaked": ["roof", "leaked", "leaking"],
}
_DEEDS = ("stayed at home", "went upstairs", "called a friend", "laughed", "left early", "felt sad")


@family
def reason(rng: random.Random) -> Draft:
    (why, marks), (_, others) = rng.sample(list(_REASONS.items()), 2)
    name, other = rng.sample(NAMES, 2)
    deed, second = rng.sample(_DEEDS, 2)
    stories = [f"{name} {deed} because {why}.", f"{other} {second} because {_why(others)}."]
    wordings = (
        "Why did {n} do that, according to the text? Answer in a few words.",
        "Read the text and give the reason why {n} {d}.",
        "What made {n} act like this? Look it up in the text: {x}",
    )
    asked = ask(rng, wordings, " ".join(stories), n=name, d=deed)
    check: Check = [
        {"kind": "names", "any": marks, "not": others, "max_words": 40},
        {"kind": "excludes", "words": [other]},
    ]
    return *asked, check, f"Because {why}."


def _why(marks: list[str]) -> str:
    return next(why for why, known in _REASONS.items() if known == marks)


@family
def did_first(rng: random.Random) -> Draft:
    name, cities = rng.choice(NAMES), rng.sample(CITIES, 3)
    at = rng.randrange(2)  # the last one ends the text, where an echo meets it
    text = f"{name} went to {cities[0]}, then to {cities[1]}, and after that to {cities[2]}."
    wordings = (
        "Which city did {n} see {w}?",
        "Name the city that {n} visited {w}.",
        "Where did {n} go {w}? Answer with the name of the city.",
    )
    right = cities[at]
    wrong = [city for city in cities if city != right]
    return (
        *ask(rng, wordings, text, n=name, w=("first", "second")[at]),
        pick([right], wrong),
        right,
    )
