"""Public data sets to the rows that the papers trained on: `woolgather prepare`.

The one idea: a preparation is a stream through named filters, each a function whose first line is its
reason, and each counted, so that the counts can be laid beside the paper's. Sources are the user's
local copies, or data sets of the hub (sources.py). Rows are never changed by a filter, and nothing
is in memory as a whole but what each preparation says (sets.py, prompts.py).
"""

from woolgather.prepare.catalogue import SETS, Preparation, write
from woolgather.prepare.counting import Counted, FilterCounts, Lengths
from woolgather.prepare.reading import BlankLines, Rule, Wanted
from woolgather.prepare.sources import PublishedSource

__all__ = [
    "SETS",
    "BlankLines",
    "Counted",
    "FilterCounts",
    "Lengths",
    "Preparation",
    "PublishedSource",
    "Rule",
    "Wanted",
    "write",
]
