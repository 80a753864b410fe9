"""The families of probes: each a function from a random generator to one prompt with its check.

The one idea: a family states a task whose fulfilment a few lines of code can decide, in at least
three wordings, over a pool large enough that two seeds rarely meet. The wordings differ in where
the material stands (inside the instruction or in `input`), because models differ in what they see.
All is English and timeless.

No wording may let a null answer through: where the answer stands in the prompt, the check bounds
the words or forbids the wrong candidates; where the answer is free writing, it forbids an echo of
the instruction.

What each family is for, and how hard it is, stands in sets.py. Measured: a chat model of 135M
parameters, decoded greedily, passes about one probe in six of 55 of these families, most of
contain_word, json_object, capital and two_words.
Sampling sets of probes is `probes.generate`, not here.
"""

from woolgather.probes.families import (
    choices,
    editing,
    everyday,
    grammar,
    knowledge,
    lists,
    numeric,
    reading,
    text,
    writing,
)
from woolgather.probes.families.sets import PLACES, PURPOSES, TIERS, Purpose, Tier
from woolgather.probes.families.shared import FAMILIES, Probe

__all__ = [
    "FAMILIES",
    "PLACES",
    "PURPOSES",
    "TIERS",
    "Probe",
    "Purpose",
    "Tier",
    "choices",
    "editing",
    "everyday",
    "grammar",
    "knowledge",
    "lists",
    "numeric",
    "reading",
    "text",
    "writing",
]
