"""Things from outside a run: rows, texts, and what is remembered of the hub."""

from woolgather.runs.inputs.rows import GivenRows, check_needs, open_dataset, open_given
from woolgather.runs.inputs.sample import open_sample
from woolgather.runs.inputs.store import InputStore
from woolgather.runs.inputs.texts import note_texts, open_texts

__all__ = [
    "GivenRows",
    "InputStore",
    "check_needs",
    "note_texts",
    "open_dataset",
    "open_given",
    "open_sample",
    "open_texts",
]
