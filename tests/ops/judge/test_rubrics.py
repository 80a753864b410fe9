import pytest

from woolgather.core.errors import ConfigError, InputError
from woolgather.core.fingerprint import canonical
from woolgather.core.rows import Example
from woolgather.ops.judge.rubrics import STYLES, Rubric, read_score, rubrics_of, slot_prompt
from woolgather.prompting.messages import Message
from woolgather.prompting.templates import Template, load

ROW = Example(instruction="Name a colour.", input="Not blue.", response="Red 7 {{question}}")

READABLE = {
    "8": 8,
    " 8\n": 8,
    "8.5": 8.5,
    "8,5": 8.5,
    "10": 10,
    "1": 1,
    "**9**": 9,
    "**Score: 9**": 9,
    "**Score:** 9": 9,
    "[[9]]": 9,
    "<score>9</score>": 9,
    "`7`": 7,
    "(7)": 7,
    '"6"': 6,
    "7 - explanation": 7,
    "7- it is fine": 7,
    "7 – clear, but 3 words too long": 7,
    "7 — clear": 7,
    "7: clear": 7,
    "7, clear": 7,
    "7, 3 facts are wrong": 7,
    "9, Business, 2023": 9,
    "7. Clear and short.": 7,
    "7.": 7,
    "7 | clear": 7,
    "7 (clear)": 7,
    "7\nIt names 3 of 4 things.": 7,
    "7/10": 7,
    "7 / 10": 7,
    "7 out of 10": 7,
    "7 of 10": 7,
    "10/10": 10,
    "7/10 - nearly": 7,
    "Score: 7/10": 7,
    "Score: 7": 7,
    "score 7": 7,
    "SCORE = 7": 7,
    "Rating: 4": 4,
    "Grade: 4.": 4,
    "The score is 7.": 7,
    "My rating is 7 - because": 7,
    "Final score: 7": 7,
    "Quality: 7": 7,
    "# Score: 7": 7,
    "- Score: 7": 7,
    "7 points": 7,
    "7 because it is short": 7,
    "I would give it 7/10.": 7,
    "It is right. I rate it 8 out of 10 for that.": 8,
    "The response is right.\nScore: 8": 8,
    "The response is right.\n\n**Final score:** 8/10\n": 8,
    "7 - 3 of the facts are wrong": 7,
    "1. A bad answer.": 1,
}
UNREADABLE = [
    "",
    "   \n",
    "N/A",
    "-",
    "The response is good.",
    "There are 3 errors in it.",
    "3 reasons why this is good",
    "3 errors were found",
    "It deserves an 8",
    "In 2017 it was 5.",
    "10502",
    "11",
    "0",
    "-5",
    "Score: 0",
    "Score: 11/10",
    "Score: -1",
    "100",
    "4/5",
    "Score: 4/5",
    "9/100",
    "90%",
    "9%",
    "9th",
    "9x",
    "8a",
    "1e5",
    "1,200",
    "7:30",
    "1.2.3",
    "7-8",
    "7 - 8",
    "Score: 7 to 8",
    "7 or 8.",
    "10, 2.",
    "[3, 2, 4, 5, 1, 10] = 8",
    "99, 93",
    "10/20",
    "6 + 1 + 1 = 7",
    "Level 10",
    "High: 2\nScore: Medium: 3",
    "1. Red\n2. Blue\n3. Green",
    "1) Red\n2) Blue",
    "I give it 7/10 for style and 9/10 for content.",
    "Done.\nScore: 7\nScore: 3",
    "Rating this as 3/4 correct",
    "Step 1/2: read it",
    "Score:",
    "Score: high",
    "nan",
    "inf",
    "2/10/2017",
]


@pytest.mark.parametrize("reply", READABLE, ids=repr)
def test_a_stated_score_is_read(reply):
    assert read_score(reply, 1, 10) == READABLE[reply]


@pytest.mark.parametrize("reply", UNREADABLE, ids=repr)
def test_what_states_no_score_on_the_scale_is_none(reply):
    assert read_score(reply, 1, 10) is None


def test_another_scale_has_its_own_top():
    assert read_score("4/5", 1, 5) == 4
    assert read_score("0", 0, 5) == 0
    assert read_score("7", 1, 5) is None


def test_reasons_first_reads_the_last_line():
    reply = "2 - of the facts are wrong\nThe rest is fine.\nScore: 6"
    assert read_score(reply, 1, 10, "last_line_score") == 6
    assert read_score(reply, 1, 10) == 2
    assert read_score("Fine.\nScore: 6\nThank you!", 1, 10, "last_line_score") == 6
    assert read_score("Fine.\nThank you!", 1, 10, "last_line_score") is None


def test_a_hostile_reply_is_read_in_no_time():
    for filler in (" ", "\n", "*", "1.", "the ", "score ", "7/"):
        assert read_score(filler * 20_000 + "x", 1, 10) is None


@pytest.mark.parametrize("style", STYLES)
def test_each_style_asks_in_a_shared_prefix_and_shows_the_row_last(style):
    for rubric in rubrics_of(style):
        assert (rubric.low, rubric.high) == (1, 10)
        first = rubric.template.text.index("{{")
        assert first > 0.4 * len(rubric.template.text)
        raw = slot_prompt(rubric.template, ROW, "raw")
        assert isinstance(raw, str)
        assert raw.endswith("Score:")
        assert "Name a colour.\n\nNot blue." in raw
        assert "Red 7 {{question}}" in raw


def test_full_and_simple_ask_twice_and_icl_once():
    assert [r.name for r in rubrics_of("full")] == ["quality", "following"]
    assert [r.name for r in rubrics_of("simple")] == ["quality", "following"]
    assert [r.name for r in rubrics_of("icl")] == ["overall"]
    assert rubrics_of("icl")[0].template.text.count("### Response") == 4
    texts = [r.template.text for style in STYLES for r in rubrics_of(style)]
    assert len(set(texts)) == 5


def test_a_chat_judge_begins_in_the_answer_slot():
    prompt = slot_prompt(rubrics_of()[0].template, ROW, "chat")
    assert isinstance(prompt, tuple)
    assert [m.role for m in prompt] == ["user", "assistant"]
    assert prompt[1].content == "Score:"
    assert not prompt[0].content.endswith("Score:")


def test_a_template_without_a_slot_is_one_user_turn():
    prompt = slot_prompt(Template("t", "Rate this.\n{{response}}"), ROW, "chat")
    assert prompt == (Message("user", "Rate this.\nRed 7 {{question}}"),)


def test_a_user_replaces_a_template_by_name(tmp_path):
    mine = tmp_path / "mine.md"
    mine.write_text("<!-- mine -->\nIs it good?\n{{instruction}}|{{input}}|{{response}}\nScore:\n")
    quality, following = rubrics_of("full", {"quality": str(mine)})
    assert (
        slot_prompt(quality.template, ROW, "raw").splitlines()[1].startswith("Name a colour.|Not")
    )
    assert following == rubrics_of("full")[1]
    assert canonical(quality) != canonical(rubrics_of("full")[0])


def test_mistakes_name_the_remedy(tmp_path):
    with pytest.raises(ConfigError, match=r"no such rubric.*overall"):
        rubrics_of("icl", {"quality": "x.md"})
    blind = tmp_path / "blind.md"
    blind.write_text("Rate {{question}}\nScore:")
    with pytest.raises(InputError, match=r"\{\{response\}\}"):
        rubrics_of("full", {"quality": str(blind)})
    foreign = tmp_path / "foreign.md"
    foreign.write_text("Rate {{answer}} {{response}}\nScore:")
    with pytest.raises(InputError, match="answer"):
        rubrics_of("full", {"quality": str(foreign)})
    with pytest.raises(ValueError, match="not below"):
        Rubric(name="q", template=load("rubric-quality"), low=5, high=5)
