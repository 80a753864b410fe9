"""Files to rows: the first records of a file tell its layout, and rows come as a stream.

What is read otherwise than it stands there, and what is left out, is told in a sentence: rows that
are set aside keep their reason, files that are not read are named.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from woolgather.core.errors import InputError
from woolgather.core.rows import Example, PreferencePair, Row, answered_turns, set_aside
from woolgather.data.fields import Fields, Record
from woolgather.data.folders import (
    Source,
    choose_files,
    is_hub_name,
    spell,
    split_sources,
    stem_of,
)
from woolgather.data.hub import HubRows, stream_hub
from woolgather.data.published import Layout, Part, recognize
from woolgather.data.record_files import Place, read_file
from woolgather.data.shapes import (
    GOOD,
    PAIRS,
    detect_shape,
    examples_of,
    explain_missing_answer,
    pair_of,
    sides,
)
from woolgather.data.values import kind_of

Tell = Callable[[str], None]
Pins = Mapping[str, str]
"""The commit of each name of the hub, by the name as it is given."""

_OWN = GOOD["own"]
_NO_PINS: Pins = {}
_CHANGED = ("renamed", "cut", "one_turn")
"""In `meta` of a row in use: why it is not as it stands in the file."""
_HEAD = 20
"""Records that tell a file's layout: a shard may begin with replies that are like no others."""


def read_examples(
    source: Source,
    *,
    needs_response: bool = True,
    part: Part = "seeds",
    pins: Pins = _NO_PINS,
    tell: Tell = lambda text: None,
) -> Iterator[Example]:
    """Yields the rows of files, folders, or a data set `owner/name[@revision]` of the hub, at the
    commit that `pins` has for it.

    `part` is what the rows are for, where a layout holds more than one kind (published/). Rows that
    were stored as set aside are passed over; rows of a published layout that are not used come set
    aside, with a reason that `tell` explains. `id` is the file's own, else `<stem>-<line>`; `meta`
    has an origin, and category and check where the file has them. Replayed rows have `replay-` before
    their id, and in `meta` the place that they come from. Raises InputError, also where no
    row is left.
    """
    used, origin = False, "machine" if part == "made" else "seed"
    tally = _LayoutCounts(tell)
    seen: set[bytes] = set()
    for file, place, record in _read_all(source, pins, tell):
        if file.layout is None and file.shape in PAIRS:
            raise place.wrong(f"a pair of responses (shape {file.shape}), where one belongs.", _OWN)
        for row in _rows_of(file, place, record, part, origin):
            if file.layout is None and row.set_aside:
                continue
            if file.layout and file.layout.once and not row.set_aside and _repeats(row, seen):
                row = set_aside(row, "repeated")
            tally.count(file, row)
            if row.set_aside is None:
                if needs_response and not row.response.strip():
                    good = file.layout.good if file.layout else GOOD[file.shape]
                    raise place.wrong(explain_missing_answer(record, file.shape), good)
                used = True
            yield row
    if not used:
        raise InputError(f"{_name(source)} holds no rows{tally.why()}. A good line: {_OWN}")
    tally.finish()


def read_pairs(
    source: Source, *, pins: Pins = _NO_PINS, tell: Tell = lambda text: None
) -> Iterator[PreferencePair]:
    """Yields the preference pairs of what `read_examples` reads; stored rows that were set aside are
    passed over.

    A pair with an empty side, with the same text on both, or that was there before comes set aside.
    Raises InputError when there is nothing to prefer in most, for a missing side, and for no rows.
    """
    total = 0
    useless: list[str] = []
    seen: set[bytes] = set()
    tally = _LayoutCounts(tell)
    for file, place, record in _read_all(source, pins, tell):
        if file.shape not in PAIRS:
            raise place.wrong(
                f"one response (shape {file.shape}), where a pair belongs.", GOOD["preference"]
            )
        pair = pair_of(record, file.shape, place)
        if pair.set_aside is not None:
            continue
        pair = replace(pair, id=file.name(pair.id, place))
        total += 1
        good, bad = sides(record, file.shape)
        if not pair.chosen.strip() or not pair.rejected.strip():
            which = bad if pair.chosen.strip() else good
            useless.append(f"{place}: the answer of {which!r} is empty")
            pair = set_aside(pair, "empty")
        elif pair.chosen.strip() == pair.rejected.strip():
            useless.append(f"{place}: {good!r} and {bad!r} are the same text")
            pair = set_aside(pair, "identical")
        elif _repeats(pair, seen):
            pair = set_aside(pair, "repeated")
        tally.count(file, pair)
        yield pair
    if not total:
        raise InputError(f"{_name(source)} holds no rows. A good line: {GOOD['preference']}")
    if 2 * len(useless) > total:
        raise InputError(
            f"{useless[0]}, so there is nothing to prefer; {len(useless)} of {total} pairs are like "
            f"that. Give both answers: {GOOD['preference']}"
        )
    tally.finish()


@dataclass(frozen=True)
class _File:
    """A file, or a data set of the hub, and what its records are."""

    label: str
    shape: str
    layout: Layout | None
    prefix: str = ""
    """What tells its rows from those of a file with the same name elsewhere."""

    @property
    def family(self) -> str:
        """What a folder's files have in common."""
        if self.layout:
            return self.layout.name
        return "pairs" if self.shape in PAIRS else "plain rows"

    def name(self, id_: str, place: Place) -> str:
        """Returns a row's id, made unlike those of other files where the file did not say one."""
        return f"{self.prefix}-{id_}" if self.prefix and id_.startswith(place.name) else id_


@dataclass
class _LayoutCounts:
    """Counts what became of the rows of each layout, to be told at the end."""

    tell: Tell
    total: Counter[str] = field(default_factory=Counter)
    unused: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, Counter[str]] = field(default_factory=dict)
    files: dict[str, _File] = field(default_factory=dict)
    conversations: Counter[str] = field(default_factory=Counter)
    """Rows in use that have several answers."""

    def count(self, file: _File, row: Row) -> None:
        family, reason = file.family, row.set_aside
        self.files.setdefault(family, file)
        self.total[family] += 1
        self.unused[family] += reason is not None
        if reason := reason or next((why for why in _CHANGED if row.meta.get(why)), None):
            self.reasons.setdefault(family, Counter())[reason] += 1
        several = isinstance(row, Example) and len(answered_turns(row)) > 2
        self.conversations[family] += several and row.set_aside is None

    def finish(self) -> None:
        """Tells of each published layout that it was recognized, and of all rows left out."""
        for family, file in self.files.items():
            if several := self.conversations[family]:
                self.tell(
                    f"{file.label}: {several:,} of {self.total[family]:,} rows have several turns. "
                    "Fine-tuning takes them all; what asks or shows one question and one answer "
                    "(demonstrations, ratings, measures, pairs) takes the first."
                )
            reasons = self._reasons(family)
            if file.layout is None and not reasons:
                continue
            total = self.total[family]
            layout = f"layout {file.layout.name} ({file.layout.source}); " if file.layout else ""
            self.tell(
                f"{file.label}: {layout}{total - self.unused[family]:,} of {total:,} rows are used"
                + (f"; {reasons}" if reasons else "")
            )

    def why(self) -> str:
        """Returns why there is no row, for an error; "" when there was none from the start."""
        found = "; ".join(filter(None, map(self._reasons, self.files)))
        return f" that can be used here: {found}" if found else ""

    def _reasons(self, family: str) -> str:
        words = {"empty": "a side is empty", "identical": "both sides are the same"}
        words["repeated"] = "the same is there before"
        words["cut"] = "it ends before a turn that is no text of user or assistant in alternation"
        words["one_turn"] = "of several turns the first is used"
        if layout := self.files[family].layout:
            words = {**words, **layout.reasons}
        counts = self.reasons.get(family, Counter()).most_common()
        return ", ".join(f"{r} {n:,} ({words.get(r, r)})" for r, n in counts)


def _rows_of(
    file: _File, place: Place, record: Record, part: Part, origin: str
) -> Iterator[Example]:
    if file.layout:
        rows = iter([file.layout.read(Fields(record, place, file.layout.good, origin), part)])
    else:
        rows = examples_of(record, file.shape, place, origin)
    for row in rows:
        row = replace(row, id=file.name(row.id, place))
        yield _as_replayed(row, place) if part == "replay" else row


def _as_replayed(row: Example, place: Place) -> Example:
    """Returns the row under an id and an origin that no seed has, whatever the file says: the same file
    may hold the seeds."""
    where = f"{spell(place.path.name)}, {place.unit} {place.number}"
    return replace(
        row, id=f"replay-{row.id}", meta={**row.meta, "origin": "replay", "place": where}
    )


def _read_all(source: Source, pins: Pins, tell: Tell) -> Iterator[tuple[_File, Place, Record]]:
    stems: set[str] = set()
    for each in split_sources(source):
        if is_hub_name(each):
            repo, _, revision = str(each).partition("@")
            said = f"{each}: no file or folder here, and "
            wanted = HubRows(repo, pins.get(str(each), revision), said=said)
            yield from _read(str(each), stream_hub(wanted), "")
            continue
        path = Path(each).expanduser()
        chosen = choose_files(path)
        for note in chosen.notes(path):
            tell(note)
        first: _File | None = None
        for each_file in chosen.files:
            name = stem_of(each_file)
            prefix = spell(each_file.parent.name) if name in stems else ""
            stems.add(name)
            for file, place, record in _read(str(path), read_file(each_file), prefix):
                if first and first.family != file.family:
                    raise InputError(
                        f"{place}: is of layout {file.family}, and the files before it in {path} are "
                        f"{first.family}. Give one layout at a time: the files by name, with commas "
                        "between them, or a folder for each."
                    )
                first = file
                yield file, place, record


def _read(
    label: str, pairs: Iterator[tuple[Place, object]], prefix: str
) -> Iterator[tuple[_File, Place, Record]]:
    checked = map(_object, pairs)
    head = list(itertools.islice(checked, _HEAD))
    if not head:
        return
    place, record = head[0]
    layout = recognize(record for _, record in head)
    try:
        shape = detect_shape(record)
    except InputError as error:
        if layout is None:
            raise place.wrong(str(error)) from None
        shape = layout.name
    file = _File(label, shape, layout, prefix)
    for place, record in itertools.chain(head, checked):
        yield file, place, record


def _object(pair: tuple[Place, object]) -> tuple[Place, Record]:
    place, record = pair
    if not isinstance(record, Mapping):
        raise place.wrong(f"expected a JSON object, found {kind_of(record)}.", _OWN)
    return place, record


def _repeats(row: Row, seen: set[bytes]) -> bool:
    """Returns whether the same texts were there before, and remembers them."""
    texts = [row.system, row.instruction]
    texts += (
        [row.chosen, row.rejected] if isinstance(row, PreferencePair) else [row.input, row.response]
    )
    digest = hashlib.blake2b("\0".join(texts).encode(), digest_size=16).digest()
    known = digest in seen
    seen.add(digest)
    return known


def _name(source: Source) -> str:
    return ", ".join(map(str, split_sources(source)))
