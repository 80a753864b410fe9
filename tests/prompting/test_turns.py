from woolgather.core.rows import Example
from woolgather.prompting.messages import Message
from woolgather.prompting.turns import BLOCK_STOP, answer_prompt, stops

ROW = Example(instruction="Name a fruit.", input="Red.", response="never shown")
SHOT = Example(instruction="Name a tree.", response="Oak\n")


def test_a_chat_model_gets_a_user_turn():
    assert answer_prompt(ROW, "chat") == (Message("user", "Name a fruit.\n\nRed."),)


def test_a_system_turn_is_sent_when_the_row_has_one():
    row = Example(instruction="Hi", system="Be kind.")
    assert answer_prompt(row, "chat")[0] == Message("system", "Be kind.")


def test_a_raw_model_gets_the_task_and_a_line_end():
    assert answer_prompt(ROW, "raw") == "Name a fruit.\n\nRed.\n"
    assert stops("raw") == ()


def test_shots_are_earlier_turns_or_blocks():
    chat = answer_prompt(ROW, "chat", [SHOT])
    assert [m.role for m in chat] == ["user", "assistant", "user"]
    raw = answer_prompt(ROW, "raw", [SHOT])
    assert raw == (
        "### Task\nName a tree.\n\n### Answer\nOak\n\n### Task\nName a fruit.\n\nRed.\n\n"
        "### Answer\n"
    )
    assert stops("raw", [SHOT]) == (BLOCK_STOP,)
    assert stops("chat", [SHOT]) == ()
    assert BLOCK_STOP in raw
