"""Files to rows: the first record of a file tells the shape of all, and rows come as a stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from woolgather.core.errors import InputError
from woolgather.core.rows import Example, PreferencePair, set_aside
from woolgather.data.record_files import Place, kind_of, read_records
from woolgather.data.shapes import (
    GOOD,
    PAIRS,
    Record,
    detect_shape,
    examples_of,
    explain_missing_answer,
    pair_of,
    sides,
)

_OWN = GOOD["own"]


def read_examples(path: Path | str, *, needs_response: bool = True) -> Iterator[Example]:
    """Yields the rows of a file or directory; rows set aside in it are passed over.

    `id` is the file's own, else `<stem>-<line>`; `meta` has origin "seed" unless the file says
    otherwise, and category and check where it has them. Raises InputError, also for no rows.
    """
    found = False
    for place, shape, record in _read_shapes(Path(path)):
        if shape in PAIRS:
            raise place.wrong(f"a pair of responses (shape {shape}), where one belongs.", _OWN)
        for row in examples_of(record, shape, place):
            if row.set_aside is None:
                if needs_response and not row.response.strip():
                    raise place.wrong(explain_missing_answer(record, shape), GOOD[shape])
                found = True
                yield row
    if not found:
        raise InputError(f"{path} holds no rows. A good line: {_OWN}")


def read_pairs(path: Path | str) -> Iterator[PreferencePair]:
    """Yields the preference pairs of a file or directory; rows set aside in it are passed over.

    A pair with an empty side, or with the same text on both, comes set aside. Raises InputError
    when most are like that, for a side that is missing, and for no rows.
    """
    total = 0
    useless: list[str] = []
    for place, shape, record in _read_shapes(Path(path)):
        if shape not in PAIRS:
            raise place.wrong(
                f"one response (shape {shape}), where a pair belongs.", GOOD["preference"]
            )
        pair = pair_of(record, shape, place)
        if pair.set_aside is not None:
            continue
        total += 1
        good, bad = sides(record, shape)
        if not pair.chosen.strip() or not pair.rejected.strip():
            which = bad if pair.chosen.strip() else good
            useless.append(f"{place}: the answer of {which!r} is empty")
            pair = set_aside(pair, "empty")
        elif pair.chosen.strip() == pair.rejected.strip():
            useless.append(f"{place}: {good!r} and {bad!r} are the same text")
            pair = set_aside(pair, "identical")
        yield pair
    if not total:
        raise InputError(f"{path} holds no rows. A good line: {GOOD['preference']}")
    if 2 * len(useless) > total:
        raise InputError(
            f"{useless[0]}, so there is nothing to prefer; {len(useless)} of {total} pairs are like "
            f"that. Give both answers: {GOOD['preference']}"
        )


def _read_shapes(path: Path) -> Iterator[tuple[Place, str, Record]]:
    shapes: dict[Path, str] = {}
    for place, record in read_records(path):
        if not isinstance(record, Mapping):
            raise place.wrong(f"expected a JSON object, found {kind_of(record)}.", _OWN)
        try:
            shape = shapes.setdefault(place.path, shapes.get(place.path) or detect_shape(record))
        except InputError as error:
            raise place.wrong(str(error)) from None
        yield place, shape, record
