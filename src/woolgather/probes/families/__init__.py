"""The families of probes: each a function from a random generator to one prompt with its check.

The one idea: a family states a task whose fulfilment a few lines of code can decide, in at least
three wordings, over a pool large enough that two seeds rarely meet. The wordings differ in where
the material stands (inside the instruction or in `input`), because models differ in what they see.
All is English and timeless.

No wording may let a null answer through: where the answer stands in the prompt, the check bounds
the words or forbids the wrong candidates; where the answer is free writing, it forbids an echo of
the instruction.

Difficulty spreads widely. A chat model of 135M parameters, decoded greedily, passes about one in
seven: most of contain_word, json_object and fill_in, some of plural, sentiment, capital, another,
two_words, extract_name, list_k and copy. The arithmetic, order, case and counting families are
meant for models of billions, and spell, count_letters, exact_words and reverse_list for room above.
Sampling sets of probes is `probes.generate`, not here.
"""

from woolgather.probes.families import knowledge, lists, numeric, reading, text, writing
from woolgather.probes.families.shared import FAMILIES, Probe

__all__ = ["FAMILIES", "Probe", "knowledge", "lists", "numeric", "reading", "text", "writing"]
