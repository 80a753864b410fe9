"""Families about the forms of words and of sentences."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

from woolgather.probes.families.shared import Draft, a_, ask, coin, family, pick
from woolgather.probes.families.words import (
    ADJECTIVES,
    GOODS,
    NAMES,
    NOUNS,
    THINGS,
    pairs,
    split_words,
)

_COMPARATIVES = pairs(
    """small=smaller; big=bigger; tall=taller; short=shorter; long=longer; fast=faster; slow=slower;
    cold=colder; warm=warmer; hot=hotter; cheap=cheaper; old=older; young=younger; strong=stronger;
    weak=weaker; hard=harder; soft=softer; light=lighter; dark=darker; loud=louder; clean=cleaner;
    deep=deeper; high=higher; low=lower; wide=wider; thick=thicker; thin=thinner; rich=richer;
    poor=poorer; sweet=sweeter; wet=wetter; dry=drier|dryer; safe=safer; late=later; early=earlier;
    easy=easier; happy=happier; heavy=heavier; busy=busier; noisy=noisier; funny=funnier; angry=angrier;
    dirty=dirtier; good=better; bad=worse; large=larger; nice=nicer; strange=stranger; brave=braver;
    near=nearer; rough=rougher; smooth=smoother; sharp=sharper; bright=brighter; fresh=fresher"""
)
_FORMS = pairs(
    """run=running|runs; swim=swimming|swims; sit=sitting|sits; write=writing|writes; make=making|makes;
    take=taking|takes; come=coming|comes; dance=dancing|dances; drive=driving|drives; ride=riding|rides;
    go=going|goes; watch=watching|watches; teach=teaching|teaches; catch=catching|catches;
    wash=washing|washes; push=pushing|pushes; fix=fixing|fixes; pass=passing|passes; miss=missing|misses;
    study=studying|studies; carry=carrying|carries; try=trying|tries; fly=flying|flies; cry=crying|cries;
    play=playing|plays; say=saying|says; eat=eating|eats; read=reading|reads; sing=singing|sings;
    walk=walking|walks; talk=talking|talks; cook=cooking|cooks; open=opening|opens; help=helping|helps;
    stop=stopping|stops; plan=planning|plans; cut=cutting|cuts; win=winning|wins; begin=beginning|begins;
    hide=hiding|hides; smile=smiling|smiles; leave=leaving|leaves; give=giving|gives; buy=buying|buys;
    lie=lying|lies; sleep=sleeping|sleeps; drink=drinking|drinks; jump=jumping|jumps; do=doing|does;
    finish=finishing|finishes; hurry=hurrying|hurries; reply=replying|replies; bake=baking|bakes;
    paint=painting|paints; climb=climbing|climbs; shake=shaking|shakes; put=putting|puts;
    mix=mixing|mixes; kiss=kissing|kisses; worry=worrying|worries"""
)
"""A verb with its form in -ing and its form after "she"."""


@family
def comparative(rng: random.Random) -> Draft:
    word = rng.choice(list(_COMPARATIVES))
    wordings = (
        'What is the comparative of "{x}"?',
        'Write the form of "{x}" that is used before "than".',
        "Give the comparative form of this adjective.",
        'Mine is {x}, but yours is even ... which form of "{x}" is missing?',
    )
    right = _COMPARATIVES[word]
    return *ask(rng, wordings, word), pick(right), right[0]


@family
def ing_form(rng: random.Random) -> Draft:
    verb = rng.choice(list(_FORMS))
    wordings = (
        'What is the -ing form of the verb "{x}"?',
        'Write the present participle of "{x}".',
        "Give the form of this verb that ends in -ing.",
        'I {x} now and then; today I am ... which form of "{x}" do I need here?',
    )
    right = _FORMS[verb][0]
    return *ask(rng, wordings, verb), pick([right]), right


@family
def third_person(rng: random.Random) -> Draft:
    verb = rng.choice(list(_FORMS))
    wordings = (
        'I {x}, you {x}, and she ... which form of "{x}" do I need here?',
        'Which form of the verb "{x}" fits "he" in the present tense?',
        'Write the verb as it stands after "she" in the simple present.',
        'Give the third person singular of "{x}" in the simple present.',
    )
    right = _FORMS[verb][1]
    return *ask(rng, wordings, verb), pick([right]), right


@family
def with_article(rng: random.Random) -> Draft:
    noun = rng.choice(sorted({*NOUNS, *GOODS, *THINGS}))
    if coin(rng):  # most nouns begin with a consonant
        noun = rng.choice(
            [word for word in sorted({*NOUNS, *GOODS, *THINGS}) if word[0] in "aeiou"]
        )
    if coin(rng):
        noun = f"{rng.choice(ADJECTIVES)} {noun}"
    wordings = (
        'Which article fits "{x}", a or an? Write it together with the word.',
        'Put "a" or "an" before {x} and write both.',
        "Write this with the right article, a or an.",
    )
    right = a_(noun)
    wrong = noun.join(("an " if right.startswith("a ") else "a ", ""))
    return *ask(rng, wordings, noun), pick([right], [wrong], 30), right


def _statement(rng: random.Random) -> tuple[str, str]:
    """The subject and the end of a plain statement with "is", such as "the lamp" and "red"."""
    subject = (
        f"the {rng.choice(ADJECTIVES)} {rng.choice(NOUNS)}" if coin(rng) else rng.choice(NAMES)
    )
    return subject, f"near the {rng.choice(NOUNS)}"


def _upper_first(text: str) -> str:
    return text[0].upper() + text[1:]


@family
def negate(rng: random.Random) -> Draft:
    subject, end = _statement(rng)
    wordings = (
        'Make this sentence negative with "not": {x}',
        "Rewrite the sentence so that it says the contrary. Only add the word not.",
        'Put "not" into this statement and change nothing else.',
    )
    start = _upper_first(subject)
    right = [f"{start} {verb} {end}." for verb in ("is not", "isn't")]
    asked = ask(rng, wordings, f"{start} is {end}.")
    return *asked, {"kind": "one_of", "values": right}, right[0]


@family
def to_question(rng: random.Random) -> Draft:
    subject, end = _statement(rng)
    wordings = (
        "Turn this statement into a question that can be answered with yes or no: {x}",
        'Make a yes-or-no question of the sentence, beginning with "Is".',
        "Rewrite this as a question, using the same words.",
    )
    right = f"Is {subject} {end}?"
    check = [{"kind": "exact", "value": right}, {"kind": "regex", "pattern": r"(?s).*\?\W*"}]
    return *ask(rng, wordings, f"{_upper_first(subject)} is {end}."), check, right


@family
def punctuate(rng: random.Random) -> Draft:
    subject, end = _statement(rng)
    asks = coin(rng)
    text = f"is {subject} {end}" if asks else f"{subject} is {end}"
    wordings = (
        "Add the capital letter and the final mark that this sentence lacks.",
        "Correct the capital letter at the beginning and the punctuation at the end: {x}",
        "Write this as a proper sentence, with a capital first letter and an end mark.",
    )
    right = _upper_first(text) + ("?" if asks else ".")
    check = {"kind": "regex", "pattern": re.escape(right)}
    return *ask(rng, wordings, text[0].lower() + text[1:]), check, right


_MEANINGS: Mapping[str, list[str]] = pairs(
    """big=large; small=little; fast=quick; happy=glad; begin=start; end=finish; shut=close; sad=unhappy;
    angry=mad; rich=wealthy; clever=smart; hard=difficult; easy=simple; ill=sick; silent=quiet;
    jump=leap; shout=yell; reply=answer; gift=present; road=street; rock=stone; buy=purchase;
    help=assist; choose=select; strange=odd; scared=afraid; tired=weary; brave=courageous; home=house;
    correct=right; wrong=incorrect; wet=damp; cold=chilly; pretty=beautiful; mistake=error;
    child=kid; journey=trip; doctor=physician; automobile=car; repair=fix; speak=talk; look=watch;
    garbage=rubbish; couch=sofa; coat=jacket; forest=woods; ocean=sea; taxi=cab; infant=baby;
    bucket=pail; clothes=garments; rabbit=bunny; film=movie; story=tale; supper=dinner"""
)
_FAR = split_words(
    "lamp spoon tuesday green eleven carpet onion ladder piano copper window thirsty pencil Oslo"
)


@family
def same_meaning(rng: random.Random) -> Draft:
    word = rng.choice(list(_MEANINGS))
    right = _MEANINGS[word][0]
    wrong = rng.sample(_FAR, 2)
    options = ", ".join(rng.sample([right, *wrong], 3))
    wordings = (
        'Which of these words means the same as "{w}": {o}?',
        'Find the synonym of "{w}" among the words.',
        'Choose the word that is closest in meaning to "{w}".',
    )
    given = "" if "{o}" in (wording := rng.choice(wordings)) else options
    return wording.format(w=word, o=options), given, pick([right], wrong), right


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
        'What is the ordinal of "{x}"?',
        'Write the ordinal number that belongs to "{x}".',
        "Give the ordinal form of this number word, as in first, second, third.",
    )
    return *ask(rng, wordings, word), pick(right, max_words=12), right[0]
