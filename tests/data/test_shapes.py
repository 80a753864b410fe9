"""One record of each shape: what it is told for, the row that it gives, what is refused how."""

import json
from typing import Any

import pytest

from woolgather.core.errors import InputError
from woolgather.core.rows import Example, PreferencePair, turns_of
from woolgather.data import detect_shape, read_examples, read_pairs
from woolgather.data.shapes import GOOD

from .shared import BOT, GOOD_LINE, TALK, USER, file, one, rows_of


def shaped(field: str, *turns: Any) -> str:
    return json.dumps({field: list(turns)})


@pytest.mark.parametrize(
    ("record", "shape"),
    [
        ({"instruction": "Q", "instances": [{"input": "", "output": "A"}]}, "self-instruct"),
        ({"instruction": "Q", "input": "", "output": "A"}, "alpaca"),
        ({"instruction": "Q", "response": "A"}, "own"),
        ({"prompt": "Q", "completion": "A"}, "prompt-completion"),
        ({"prompt": [USER], "completion": [BOT]}, "prompt-completion"),
        ({"messages": [USER, BOT]}, "messages"),
        ({"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]}, "sharegpt"),
    ],
)  # fmt: skip
def test_every_shape_is_told_and_read(tmp_path, record, shape):
    assert detect_shape(record) == shape
    row = one(tmp_path, record)
    assert row == Example(id="one-1", instruction="Q", response="A", meta={"origin": "seed"})


@pytest.mark.parametrize("shape", ["self-instruct", "alpaca", "own", "messages", "sharegpt"])
def test_the_good_lines_that_errors_show_are_good(tmp_path, shape):
    record = json.loads(GOOD[shape])
    assert detect_shape(record) == shape
    assert one(tmp_path, record).response == "..."


@pytest.mark.parametrize(
    ("record", "shape"),
    [
        ({"real": [USER, BOT], "generated": [USER, {**BOT, "content": "B"}]}, "spin"),
        ({"prompt": "Q", "chosen": "A", "rejected": "B"}, "preference"),
        ({"instruction": "Q", "chosen": "A", "rejected": "B"}, "preference"),
        ({"chosen": [USER, BOT], "rejected": [USER, {**BOT, "content": "B"}]}, "preference"),
    ],
)
def test_pairs(tmp_path, record, shape):
    assert detect_shape(record) == shape
    (pair,) = read_pairs(file(tmp_path, "p.jsonl", [record]))
    assert pair == PreferencePair(
        id="p-1", instruction="Q", chosen="A", rejected="B", meta={"origin": "seed"}
    )


def test_what_any_shape_may_have(tmp_path):
    check = {"kind": "contains", "any": ["A"]}
    record = {"id": 7, "instruction": "Q", "response": "A", "system": "S", "category": "c"}
    row = one(tmp_path, {**record, "check": check, "meta": {"task": "t", "origin": "hand"}})
    assert (row.id, row.system) == ("7", "S")
    assert row.meta == {"origin": "hand", "category": "c", "check": check, "task": "t"}


def test_self_instruct_with_several_instances(tmp_path):
    instances = [{"input": "<noinput>", "output": "A"}, {"input": "x", "output": "B"}]
    record = {"id": "s", "instruction": "Q", "instances": instances, "is_classification": True}
    rows = list(read_examples(file(tmp_path, "s.jsonl", [record])))
    assert [(r.id, r.input, r.response) for r in rows] == [("s", "", "A"), ("s-2", "x", "B")]
    assert rows[0].meta["category"] == "classification"


def test_a_conversation_gives_its_first_question_answer_and_system_text(tmp_path):
    system = {"role": "system", "content": "S"}
    later = [{"role": "user", "content": "Q2"}, {"role": "assistant", "content": "A2"}]
    row = one(tmp_path, {"messages": [system, USER, BOT, *later]})
    assert (row.system, row.instruction, row.response) == ("S", "Q", "A")
    greeted = one(tmp_path, {"messages": [{"role": "assistant", "content": "Hello"}, USER, BOT]})
    assert (greeted.instruction, greeted.response) == ("Q", "A")
    talk = {"system": "T", "conversations": [{"from": "human", "value": "Q"}]}
    assert one(tmp_path, talk, needs_response=False).system == "T"


def test_dollys_context_is_input(tmp_path):
    assert one(tmp_path, {"instruction": "Q", "context": "C", "response": "A"}).input == "C"


def test_of_a_longer_talk_the_first_turn_counts_and_a_system_turn_stays(tmp_path):
    system = {"role": "system", "content": "Be kind."}
    more = [{"role": "user", "content": "And?"}, {"role": "assistant", "content": "No."}]
    record = {
        "real": [system, USER, BOT, *more],
        "generated": [system, USER, {**BOT, "content": "bad"}],
    }
    [pair] = read_pairs(file(tmp_path, "p.jsonl", [record]))
    assert (pair.system, pair.instruction) == ("Be kind.", USER["content"])
    assert (pair.chosen, pair.rejected) == (BOT["content"], "bad")
    told = []
    list(read_pairs(tmp_path / "p.jsonl", tell=told.append))
    assert told[-1].endswith("one_turn 1 (of several turns the first is used)")


def as_sharegpt(turns):
    names = {"user": "human", "assistant": "gpt"}
    return [{"from": names[turn["role"]], "value": turn["content"]} for turn in turns]


@pytest.mark.parametrize(
    "record",
    [
        {"messages": TALK},
        {"conversations": as_sharegpt(TALK)},
        {"prompt": TALK[:-1], "completion": TALK[-1:]},
        {
            "instruction": "Thanks!", "output": "Gladly.",
            "history": [["Name a tree.", "An elm."], ["Another?", "An oak.\n"]],
        },
        {
            "instruction": "Thanks!", "response": "Gladly.",
            "history": [["Name a tree.", "An elm."], ["Another?", "An oak.\n"]],
        },
        {
            "instruction": "Thanks!", "output": "Gladly.",
            "history": '[["Name a tree.", "An elm."], ["Another?", "An oak.\\n"]]',
        },
    ],
)  # fmt: skip
def test_a_longer_conversation_is_kept_whole_and_told_of(tmp_path, record):
    lines = [record, {**record, "system": "Be kind."}]
    used, reasons, told = rows_of(file(tmp_path, "talks.jsonl", lines))
    assert [(row.instruction, row.response) for row in used] == [("Name a tree.", "An elm.")] * 2
    assert [row.system for row in used] == ["", "Be kind."]
    for row in used:
        assert turns_of(row) == [(turn["role"], turn["content"]) for turn in TALK]
    assert not reasons
    (said,) = told
    assert "talks.jsonl: 2 of 2 rows have several turns. Fine-tuning takes them all" in said
    assert "takes the first" in said


@pytest.mark.parametrize(
    ("later", "kept", "cut"),
    [
        ([{"role": "user", "content": "And?"}], 3, None),
        ([{"role": "user", "content": "And?"}, {"role": "tool", "content": "5"}], 3, 4),
        ([{"role": "assistant", "content": "More."}], 2, 3),
        ([{"role": "system", "content": "Stop."}, *TALK[:2]], 2, 3),
        ([*TALK[2:3], {"role": "assistant", "content": None}], 3, 4),
        ([*TALK[2:3], {"role": "assistant", "content": " "}], 3, 4),
        (["what"], 2, 3),
    ],
)
def test_a_conversation_ends_before_a_turn_that_is_none(tmp_path, later, kept, cut):
    used, _, told = rows_of(file(tmp_path, "t.jsonl", [{"messages": [*TALK[:2], *later]}]))
    assert len(turns_of(used[0])) == kept
    assert used[0].meta.get("cut") == (cut and f"message {cut}")
    why = "cut 1 (it ends before a turn that is no text of user or assistant in alternation)"
    assert any(why in said for said in told) == bool(cut)


def test_a_last_question_without_an_answer_makes_no_row_of_several_turns(tmp_path):
    asked = {"messages": [*TALK[:2], {"role": "user", "content": "And?"}]}
    _, _, told = rows_of(file(tmp_path, "t.jsonl", [asked, {"messages": TALK}]))
    (said,) = told
    assert "1 of 2 rows have several turns" in said


@pytest.mark.parametrize(("pair", "what"), [(["", "An elm."], "question"), (["Q", " "], "answer")])
def test_the_empty_text_of_a_first_pair_is_named_where_it_stands(tmp_path, pair, what):
    record = {"instruction": "Q", "output": "A", "history": [pair]}
    with pytest.raises(
        InputError, match=f"'history': the {what} of its first pair is empty.*history"
    ):
        one(tmp_path, record)


def test_a_history_without_a_pair_is_none(tmp_path):
    assert turns_of(one(tmp_path, {"instruction": "Q", "output": "A", "history": "[]"})) == [
        ("user", "Q"),
        ("assistant", "A"),
    ]


def test_half_a_character_in_a_later_turn_is_named(tmp_path):
    turns = [*TALK[:2], {"role": "user", "content": "a\ud83d"}]
    with pytest.raises(InputError, match="line 1: message 3 has half a character"):
        one(tmp_path, {"messages": turns})


@pytest.mark.parametrize("history", ["hi", [["a"]], [["a", 5]], ["ab"]])
def test_a_history_that_is_none_is_named(tmp_path, history):
    record = {"instruction": "Q", "output": "A", "history": history}
    with pytest.raises(InputError, match=r"line 1: field 'history' is not (a list of pairs|valid)"):
        one(tmp_path, record)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"instruction": "Q", ', "not valid JSON: Expecting property name"),
        ("not json", "not valid JSON: Expecting value, at column 1"),
        ("[" * 100_000, "not valid JSON: nested too deeply"),
        ('["a"]', "expected a JSON object, found a list"),
        ('"text"', "expected a JSON object, found text"),
        ('{"input": "", "output": "A"}', "field 'instruction' is missing"),
        ('{"instruction": "Q"}', "field 'output' is missing"),
        ('{"instruction": "Q", "output": ""}', "field 'output' is empty"),
        ('{"instruction": " \\n", "output": "A"}', "field 'instruction' is empty"),
        ('{"instruction": 5, "output": "A"}', "field 'instruction' is the number 5, not text"),
        ('{"instruction": null, "output": "A"}', "field 'instruction' is null, not text"),
        ('{"instruction": "Q", "output": ["A"]}', "field 'output' is a list, not text"),
        ('{"instruction": "Q", "input": {}, "output": "A"}', "field 'input' is an object"),
        ('{"instruction": "Q", "output": "A", "check": {"kind": "x"}}', "field 'check': "),
        ('{"instruction": "Q", "output": "A", "check": "{"}', "field 'check' is not valid JSON"),
        ('{"instruction": "Q", "output": "A", "meta": [1]}', "field 'meta' is a list"),
        ('{"instruction": "Q", "output": "A\\ud83d"}', "field 'output' has half a character at 2"),
        ('{"instruction": "Q", "output": "A", "category": true}', "field 'category' is true"),
    ],
)
def test_a_bad_line_is_named_and_a_good_one_shown(tmp_path, line, message):
    path = file(tmp_path, "seeds.jsonl", GOOD_LINE + "\n" + line + "\n")
    with pytest.raises(InputError) as caught:
        list(read_examples(path))
    said = str(caught.value)
    assert said.startswith(f"{path}, line 3: {message}")
    assert '{"instruction": "..."' in said


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (shaped("messages", USER), "no answer follows"),
        (shaped("messages", BOT), "no message of the user"),
        (shaped("messages"), "an empty list, where a list of messages belongs"),
        (shaped("messages", "hi"), "message 1 is text, not an object"),
        (shaped("messages", {"role": "boss", "content": "x"}), "message 1: 'role' is 'boss'"),
        (shaped("messages", {"content": "x"}), "message 1: 'role' is None"),
        (shaped("messages", USER, {"role": "assistant"}), "message 2: 'content' is null"),
        (shaped("messages", {**USER, "content": " "}), "the user's message is empty"),
        (shaped("messages", {**USER, "content": "\ud83d"}), "message 1 has half a character"),
        (shaped("conversations", {"from": "human"}), "message 1: 'value' is null"),
        ('{"messages": "hi"}', "text, where a list of messages belongs"),
        ('{"instruction": "Q", "instances": []}', "field 'instances' is not a list with"),
        ('{"instruction": "Q", "instances": ["A"]}', r"instances\[0\] is text, not an object"),
        ('{"instruction": "Q", "instances": [{"input": "x"}]}', "field 'output' of an instance"),
        (
            '{"prompt": [], "completion": "A"}',
            "'prompt' is a list of messages, 'completion' is not",
        ),
        ('{"chosen": [], "rejected": []}', "a pair of responses .shape preference., where one be"),
        ('{"real": [], "generated": []}', "an empty list, where a list of messages belongs"),
        ('{"question": "Q", "answer": "A"}', r"the fields \(answer, question\) are those of no"),
        ("{}", r"the fields \(none\) are those of no shape"),
        (
            '{"instruction": "Q", "verdicts": 3, "parents": []}',
            "field 'verdicts' is the number 3, not a list",
        ),
    ],
)
def test_mistakes_of_other_shapes(tmp_path, line, message):
    with pytest.raises(InputError, match=f"line 1: {message}"):
        list(read_examples(file(tmp_path, "s.jsonl", line)))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            {"prompt": "Q", "completion": "A"},
            "one response .shape prompt-completion., where a pair",
        ),
        ({"prompt": "Q", "chosen": "A", "rejected": 3}, "field 'rejected' is the number 3"),
        ({"chosen": "A", "rejected": "B"}, "field 'prompt' is missing"),
        (
            {"real": [USER, BOT], "generated": [{**USER, "content": "X"}, BOT]},
            "'real' and 'generated' answer different questions",
        ),
        ({"real": "Q", "generated": [USER, BOT]}, "text, where a list of messages belongs"),
    ],
)
def test_mistakes_in_pairs(tmp_path, record, message):
    with pytest.raises(InputError, match=f"line 1: {message}"):
        list(read_pairs(file(tmp_path, "p.jsonl", [record])))
