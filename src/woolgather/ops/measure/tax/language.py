"""Whether an answer left the language of its task: by script, and by function words.

The one idea: only what is clear counts. The method is rough: it knows the function words of a few
languages in Latin letters, and of all others only the script. Short answers, and answers to tasks that
speak of a language, are never said to have left it.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

from woolgather.ops.text.words import script_shares, tokens

WORDS = {
    "English": "the of and to is that it for with are this you not what which your from they be have "
    "his her how was were has an or by would can",
    "German": "der die das und ist nicht ein eine einen mit zu den auf sich für von dem wie auch wird "
    "sind oder ich sie bei aus nach im werden",
    "French": "le la les et des est une pour dans qui que du pas sur avec ce il vous au par sont je un "
    "cette nous plus elle être",
    "Spanish": "el la los las que en un una por con para del es se como su más al lo pero está son "
    "muy este hay",
    "Portuguese": "os as que em um uma por com para do da dos das não se como mais ao é são mas "
    "pelo na no",
    "Italian": "il lo la gli le che di un una per con non del della è si come più sono nel al dei "
    "questo anche",
    "Dutch": "de het een en van is dat niet voor met zijn op te die aan ook als er bij maar naar wordt "
    "worden deze",
    "Swedish": "och att det som en på är av för med den inte till ett har jag om de kan vi var",
    "Polish": "na się nie jest do to że jak po od przez za dla są który jego oraz",
    "Turkish": "ve bir bu için ile da de olarak çok daha gibi olan ne ama var sonra kadar değil",
    "Indonesian": "yang dan di untuk dengan ini dari dalam tidak adalah itu pada ke akan atau juga oleh",
    "Vietnamese": "là và của có không được cho một các với này trong người những để đã",
}
"""Common function words of languages that are written in Latin letters, of two letters or more; a word
may be of several languages."""
NAMED = re.compile(
    r"\b(?:translat\w*|languages?|english|german|french|spanish|portuguese|italian|dutch|swedish|polish|"
    r"turkish|indonesian|vietnamese|chinese|japanese|korean|russian|arabic|latin|greek|hindi|hebrew)\b",
    re.I,
)
"""A task that speaks of a language may want an answer in another one."""
SCRIPT = 0.5
"""Share of the letters of an answer from which on another script is its own."""
LETTERS = 4
"""Fewest letters of an answer of which a script is told."""
ALLOWED = 0.05
"""Share of the letters of a task from which on a script is one of the task's."""
FEWEST, SHARE, TIMES = 3, 0.15, 2
"""Function words that an answer in another language has at least; their share of all its words; and
how many times as many as those of the task's language."""


@cache
def _languages() -> dict[str, frozenset[str]]:
    return {name: frozenset(words.split()) for name, words in WORDS.items()}


def leaves_language(task: str, answer: str) -> bool | None:
    """Returns whether an answer is clearly in another language than its task; None where the task speaks
    of a language, so that another one may be what it wants."""
    if NAMED.search(task):
        return None
    if _leaves_script(task, answer):
        return True
    asked, found = _count_words(task), _count_words(answer)
    most = max(asked.values(), default=0)
    if not most:
        return False
    # A task with few function words may be of several languages.
    own = {name for name, count in asked.items() if 2 * count >= most}
    other = max((count for name, count in found.items() if name not in own), default=0)
    enough = max(FEWEST, SHARE * len(tokens(answer)))
    return other >= enough and other > TIMES * max(found[name] for name in own)


def _leaves_script(task: str, answer: str) -> bool:
    shares = script_shares(answer)
    if not shares or sum(map(str.isalpha, answer)) < LETTERS:
        return False
    main = max(shares, key=lambda script: shares[script])
    allowed = {script for script, part in script_shares(task).items() if part >= ALLOWED}
    return shares[main] > SCRIPT and main not in allowed and bool(allowed)


def _count_words(text: str) -> Counter[str]:
    """Returns how many words of a text are function words of each language; none without any."""
    counts: Counter[str] = Counter()
    for word in tokens(text.lower()):
        counts.update(name for name, known in _languages().items() if word in known)
    return counts
