"""The families of probes: each a function from a random generator to one prompt with its check.

The one idea: a family states a task whose fulfilment a few lines of code can decide, in at least
three wordings, over a pool large enough that two seeds rarely meet. The wordings differ in where
the material stands (inside the instruction or in `input`), because models differ in what they see.
All is English and timeless.

No wording may let a null answer through: where the answer stands in the prompt, the check bounds
the words or forbids the wrong candidates; where the answer is free writing, it forbids an echo of
the instruction. Difficulty spreads from what a tuned model of 135M does (capital, copy, opposite,
fill_in, sentiment, start_word) over what one of a few billion does (json_object, sort_words,
word_problem, count_words) to what large ones still miss (spell, count_letters, exact_words,
avoid_word with two bounds). Sampling sets of probes is `probes.generate`, not here.
"""

from woolgather.probe_families import knowledge, lists, numeric, reading, text, writing
from woolgather.probe_families.shared import FAMILIES, Probe

__all__ = ["FAMILIES", "Probe", "knowledge", "lists", "numeric", "reading", "text", "writing"]
