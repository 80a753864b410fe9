"""A row's kind and its line."""

from woolgather.core.rows import Example
from woolgather.ops.curate.tag import tag


def test_kind_and_line_are_written_whatever_the_row_was() -> None:
    rows = [
        Example(id="a", instruction="x", meta={"origin": "machine", "category": "lists"}),
        Example(id="b", instruction="y", system="Be brief."),
    ]
    one, two = tag(rows, origin="seed", line="Reply well.")
    assert (one.id, one.system) == ("a", "Reply well.")
    assert one.meta == {"origin": "seed", "category": "lists"}
    assert two.system == "Reply well.\nBe brief."


def test_no_line_leaves_the_system_turn() -> None:
    (row,) = tag([Example(instruction="y", system="Be brief.")], origin="seed")
    assert row.system == "Be brief."
    (row,) = tag([Example(instruction="y")], origin="seed")
    assert row.system == ""


def test_nothing_to_tag_is_told():
    def drained():
        views.extend((yield from tag([], origin="backtranslated")))

    views = []
    assert list(drained()) == []
    assert views[0].kind == "alarm"
