import pytest

from woolgather.core.artifacts import PromptFormat
from woolgather.core.rows import Example
from woolgather.prompting.messages import Message
from woolgather.prompting.turns import BLOCK_STOP, answer_prompt, stops

ROW = Example(instruction="Name a fruit.", input="Red.", response="never shown")
SHOT = Example(instruction="Name a tree.", response="Oak\n")
BLOCK = "### Task\nName a fruit.\n\nRed.\n\n### Answer\n"


@pytest.mark.parametrize("form", ["chat", "chatml"])
def test_in_turns_a_model_gets_a_users(form: PromptFormat) -> None:
    assert answer_prompt(ROW, form) == (Message("user", "Name a fruit.\n\nRed."),)
    assert [m.role for m in answer_prompt(ROW, form, [SHOT])] == ["user", "assistant", "user"]


@pytest.mark.parametrize("form", ["chat", "chatml"])
def test_a_system_turn_is_sent_when_the_row_has_one(form: PromptFormat) -> None:
    row = Example(instruction="Hi", system="Be kind.")
    assert answer_prompt(row, form)[0] == Message("system", "Be kind.")


def test_a_raw_model_gets_the_task_and_a_line_end() -> None:
    assert answer_prompt(ROW, "raw") == "Name a fruit.\n\nRed.\n"


def test_in_blocks_the_heading_of_the_answer_is_left_open() -> None:
    assert answer_prompt(ROW, "blocks") == BLOCK
    assert BLOCK_STOP in BLOCK


@pytest.mark.parametrize("form", ["raw", "blocks"])
def test_with_shots_raw_and_blocks_are_the_same(form: PromptFormat) -> None:
    shown = "### Task\nName a tree.\n\n### Answer\nOak\n\n"
    assert answer_prompt(ROW, form, [SHOT]) == shown + BLOCK
    assert stops(form, [SHOT]) == (BLOCK_STOP,)


@pytest.mark.parametrize(
    ("form", "stop"),
    [("raw", ()), ("blocks", ("\n### ",)), ("chat", ()), ("chatml", ("<|im_end|>",))],
)
def test_stops_follow_the_form(form: PromptFormat, stop: tuple[str, ...]) -> None:
    assert stops(form) == stop


@pytest.mark.parametrize(("form", "stop"), [("chat", ()), ("chatml", ("<|im_end|>",))])
def test_shots_in_turns_need_no_stop_of_their_own(
    form: PromptFormat, stop: tuple[str, ...]
) -> None:
    assert stops(form, [SHOT]) == stop
