"""Checks of constraints: what they decide, files of one's own, and that none is a probe's twin."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

from woolgather.core.errors import InputError
from woolgather.core.fingerprint import canonical
from woolgather.data import builtin_seeds
from woolgather.data.reading import read_examples
from woolgather.ops.curate.constraints import (
    NO_FILE,
    Constraint,
    meets_all,
    read_check_file,
    read_constraints,
)
from woolgather.probes import generate
from woolgather.probes.checks import passes_strictly
from woolgather.probes.kinds import Params

OURS = NO_FILE.checks()
HEAD = "from woolgather.ops.curate.constraints import check\n"
HUES = '@check("Name {} colours.", range(1, 3))\ndef hues(t, n): return t.count("red") == n\n'
FORMS = {
    "words", "sentences", "lines", "items", "case", "starts_with", "ends_with", "contains", "excludes",
    "regex", "ordered",
}  # fmt: skip
"""Kinds of checks that a constraint could be the twin of; the others know the one right answer."""
MEETS = {
    "exclamation": ("at least one", "Stop!", "Stop."),
    "parentheses": ("something", "Tea (green) helps.", "Tea helps. :)"),
    "quotation": ("something", "He said “no”.", "He said no."),
    "bold": ("nothing", "2 * 3 ** 4", "A **big** cat."),
    "hyphen": ("at least one", "A well-known cat.", "A cat - known well."),
    "colon": ("no", "A cat.", "A cat: grey."),
    "semicolon": ("at least one", "It rains; we stay.", "It rains, we stay."),
    "dash": ("at least one", "It rains - again.", "A well-known cat."),
    "ellipsis": ("no", "It rains.", "It rains..."),
    "digits": ("at least one", "It is 7.", "It is seven."),
    "contraction": ("at least one", "I don’t know.", "I do not know."),
    "heading": ("a", "# Tea\nIt helps.", "Tea is #1.\nIt helps."),
    "sign": ("%", "It is 7 % of it.", "It is 7 percent of it."),
    "without_letter": ("e", "A cat sat.", "The cat sat."),
    "last_character": ("a full stop", "It rains.\n", "It rains!"),
    "first_sound": ("a vowel", '"Apples are red."', "Pears are green."),
    "commas": (2, "Red, green, blue", "Red, green"),
    "paragraphs": (2, "One.\n\nTwo.", "One.\nTwo."),
    "lines": (2, "One.\n\nTwo.", "One. Two."),
    "capitals": (2, "The cat met Tom.", "The cat met him."),
    "articles": (2, "The cat and the dog.", "The other cat."),
    "small_words": (2, "It is far.", "It rains."),
    "adverbs": (1, "It rains heavily.", "It rains."),
    "double_letters": (1, "The bell rang.", "The bird sang."),
    "first_word_length": (4, '"Cats" sleep.', "Dogs's sleep."),
    "last_word_length": (5, "Cats sleep.", "Cats sit."),
    "short_words": (5, "Cats sleep.", "Elephants sleep."),
    "long_word": (15, "Extraordinarily big.", "Very big."),
    "commonest_word": (3, "A cat, a dog, a cow.", "A cat, a dog."),
    "short_sentences": (3, "It rains. We stay in.", "It rains. We stay in here."),
    "first_against_last": ("longer", "It rains here. We go.", "It rains. We stay in."),
}


@pytest.mark.parametrize("name", OURS)
def test_a_check_proposes_what_an_answer_meets_and_tells_another_apart(name: str) -> None:
    value, right, wrong = MEETS[name]
    wanted = Constraint(OURS[name], value)
    assert wanted.holds(right)
    assert not wanted.holds(wrong)
    assert wanted in OURS[name].met(right)
    assert all(each.holds(right) for each in OURS[name].met(right))
    assert str(value) in wanted.phrase
    for text in ("", " \n", "?!", "\u00e9\U0001f600", "1"):
        OURS[name].met(text)


def test_there_are_many_kinds_each_with_its_case() -> None:
    assert len(OURS) >= 20
    assert set(MEETS) == set(OURS)
    told = Constraint(OURS["commas"], 2).told(chance=0.1)
    assert told == {"check": "commas", "value": 2, "chance": 0.1}
    [read] = read_constraints([told], OURS)
    assert (meets_all("a, b, c", [read]), meets_all("a, b", [read]), meets_all(" ", [])) == (
        True,
        False,
        False,
    )
    with pytest.raises(InputError, match=r"the check hue, which is unknown.*verify\.checks=FILE"):
        read_constraints([{"check": "hue", "value": 1}], OURS)


def texts() -> list[str]:
    """Answers of many forms, so that two rules that are not the same part somewhere."""
    plain = [row.response for row in read_examples(builtin_seeds())][::6]
    asked = [p.reference for purpose in ("report", "select") for p in generate(44, 3, purpose)]
    cased = [*map(str.upper, plain[::4]), *map(str.lower, plain[::4])]
    return list(dict.fromkeys([*plain, *asked, *cased]))


def meeting(pool: list[str], holds: Callable[[str], bool]) -> int:
    """A bit for each text that a rule lets through."""
    return sum(1 << i for i, text in enumerate(pool) if holds(text))


def alike(one: int, other: int, size: int) -> bool:
    """Whether two rules let through nearly the same texts, and stop nearly the same."""
    whole = (1 << size) - 1
    return all(
        min(a.bit_count(), b.bit_count()) > 4 and (a & b).bit_count() > 0.8 * (a | b).bit_count()
        for a, b in ((one, other), (whole & ~one, whole & ~other))
    )


def parts_of_probes() -> list[Params]:
    """The parts of the checks of reporting and selecting probes that speak of form or of single words."""
    found = {
        repr(part): part
        for purpose in ("report", "select")
        for probe in generate(90, 4, purpose)
        for part in ([probe.check] if isinstance(probe.check, Mapping) else probe.check)
        if part["kind"] in FORMS
    }
    return list(found.values())


# A part that fewer than five texts meet, or fail, says nothing here: most parts about one word are such.
def twins(constraints: Iterable[Constraint], pool: list[str]) -> set[str]:
    """Names of checks that decide, over the texts, as a part of such a probe's check does."""
    theirs = [
        meeting(pool, lambda text, p=part: passes_strictly(text, p)) for part in parts_of_probes()
    ]
    ours = {(each.check.name, meeting(pool, each.holds)) for each in constraints}
    return {name for name, met in ours for other in theirs if alike(met, other, len(pool))}


def test_none_decides_as_a_reporting_or_selecting_probe_does(tmp_path: Path) -> None:
    pool = texts()
    values = {each for text in pool for own in OURS.values() for each in own.met(text)}
    file = tmp_path / "twins.py"
    file.write_text(
        HEAD + "from woolgather.probes.kinds import sentence_count\n"
        '@check("Write {} sentence at most.", [1])\n'
        "def sentences(text, n): return sentence_count(text, {'max': n})\n"
        '@check("Write in capitals.")\n'
        "def shouted(text): return text.isupper()\n"
    )
    planted = read_check_file(str(file)).checks()
    asked = [Constraint(planted["sentences"], 1), Constraint(planted["shouted"], None)]
    assert twins([*values, *asked], pool) == {"sentences", "shouted"}


def test_a_file_of_ones_own_adds_to_ours_and_is_known_by_its_text(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        HEAD
        + '@check("Name {} colours.", range(1, 3))\ndef hues(t, n): return t.count("red") == n\n'
    )
    found = read_check_file(str(file))
    assert set(found.checks()) == {*OURS, "hues"}
    assert [each.phrase for each in found.checks()["hues"].met("red")] == ["Name 1 colours."]
    before = canonical(found)
    file.write_text(file.read_text() + "# a comment\n")
    assert canonical(read_check_file(str(file))) != before
    assert str(found) == str(file)
    assert read_check_file("") is NO_FILE


FAULTS = {
    "x = 1\n": r"mine\.py: no check in it\. Write @check",
    "from woolgather.ops.curate.constraint_checks import *\n": r"mine\.py: no check in it",
    "import nothing_like_it\n": r"mine\.py, line 1: the file .*ModuleNotFoundError.*Mend it",
    "x = 1\ndef (:\n": r"mine\.py, line 2: the file .*SyntaxError",
    HEAD + '@check("Name {}.")\ndef f(t, n): return True\n': r"mine\.py, line 2: .*go together",
    HEAD
    + '@check("Be kind.")\ndef commas(t): return True\n': r"check commas of ours.*another name",
}


@pytest.mark.parametrize("text", FAULTS)
def test_a_bad_file_is_told_in_one_sentence(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(InputError, match=FAULTS[text]) as caught:
        read_check_file(str(file))
    assert "\n" not in str(caught.value)


def test_no_file_and_no_utf_8(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"checks=nowhere\.py: no such file\. Give the path"):
        read_check_file("nowhere.py")
    file = tmp_path / "mine.py"
    file.write_bytes(b"# caf\xe9\n")
    with pytest.raises(InputError, match=r"not UTF-8"):
        read_check_file(str(file))


def test_a_check_that_raises_names_file_line_and_answer(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        HEAD + '@check("Be kind.")\ndef kind(t):\n    return 1 / t.count("kind")\n'
        '@check("Be short.")\ndef short(t):\n    return len(t)\n'
    )
    found = read_check_file(str(file)).checks()
    with pytest.raises(
        InputError, match=r"mine\.py, line 4: the check kind raised ZeroDiv.*'Go\.'"
    ):
        found["kind"].met("Go.")
    with pytest.raises(InputError, match=r"mine\.py: the check short returned 3 .*True or False"):
        found["short"].met("Go.")
