import pytest

from woolgather.core.errors import ConfigError, InputError
from woolgather.core.fingerprint import canonical
from woolgather.core.rows import Example
from woolgather.ops.judge.rubrics import STYLES, Rubric, rubrics_of, slot_prompt
from woolgather.prompting.messages import Message
from woolgather.prompting.templates import Template, load

ROW = Example(instruction="Name a colour.", input="Not blue.", response="Red 7 {{question}}")


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
