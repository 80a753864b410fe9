"""The only place that knows foreign row shapes: reads them into rows, and writes rows as them.

The one idea: a file is a stream of records, the first of which tells the shape; each is then turned
into rows by that shape's reader. A mistake is one InputError that names file, line, field, what is
wrong, and what a good line looks like. Nothing is cut or cleaned; of a longer conversation the
first question and its answer are the row's, with the system text before it, and `meta.conversation` has
all turns (`core.rows.turns_of`).

    self-instruct      {"instruction", "instances": [{"input", "output"}, ...]}
    alpaca             {"instruction", "input", "output"}
    own                {"instruction", "input", "response", "category", "check"}
    prompt-completion  {"prompt", "completion"}                    texts, or lists of messages
    messages           {"messages": [{"role", "content"}, ...]}
    sharegpt           {"conversations": [{"from", "value"}, ...]}
    spin               {"real": [messages], "generated": [messages]}                      pairs
    preference         {"prompt" or "instruction", "chosen", "rejected"}                  pairs

Each may also have id (text or a number), system, category, check, and meta, which may hold whatever
JSON has; values.py says what becomes of a table's dates, decimals and bytes. Files are those of
record_files.py, each also packed as .gz; folders.py says which files of a folder are read. Layouts of
the methods' own repositories are told by their fields before these shapes (published/, a table).
"""

from woolgather.data.builtin import builtin_heldout, builtin_seeds, builtin_texts
from woolgather.data.folders import Source
from woolgather.data.published import Part
from woolgather.data.reading import Tell, read_examples, read_pairs
from woolgather.data.shapes import detect_shape
from woolgather.data.writing import Format, write_rows_as

__all__ = [
    "Format",
    "Part",
    "Source",
    "Tell",
    "builtin_heldout",
    "builtin_seeds",
    "builtin_texts",
    "detect_shape",
    "read_examples",
    "read_pairs",
    "write_rows_as",
]
