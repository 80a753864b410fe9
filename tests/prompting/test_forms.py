"""Which forms a model can be asked in, by its files; and ChatML, spelt out as our template writes it."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import pytest

from woolgather.core.artifacts import PromptFormat
from woolgather.core.errors import InputError
from woolgather.core.rows import Example
from woolgather.prompting.forms import FORMS, forms_of, is_as_tuned, is_text, spell_out
from woolgather.prompting.messages import Message, Prompt
from woolgather.prompting.template_choice import OWN, load_chat_template
from woolgather.prompting.turns import answer_prompt, messages_of

from ..conftest import CHATML

USER = Message("user", "say {{ it }}")
TALK = (Message("system", "be brief"), USER, Message("assistant", "It."), USER)
OTHER = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}"


def make_folder(path: Path, template: object = None, token: str = "<s>") -> str:
    config = {} if template is None else {"chat_template": template}
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    (path / "tokenizer.json").write_text(json.dumps({"added_tokens": [{"content": token}]}))
    return str(path)


@pytest.mark.parametrize("talk", [(USER,), TALK])
def test_chatml_is_what_our_template_writes(talk: tuple[Message, ...]) -> None:
    import jinja2

    path = resources.files("woolgather").joinpath("templates", "chatml.jinja")
    template = jinja2.Template(path.read_text(encoding="utf-8"))
    messages = [m._asdict() for m in talk]
    text = template.render(messages=messages, add_generation_prompt=True)
    assert spell_out(talk, "chatml") == text
    begun = (*talk, Message("assistant", "Score:"))
    assert spell_out(begun, "chatml") == text + "Score:"


@pytest.mark.parametrize("form", ["raw", "blocks", "chat"])
def test_other_conversations_and_texts_are_left_as_they_are(form: PromptFormat) -> None:
    prompts: list[Prompt] = ["a text", TALK]
    assert [spell_out(prompt, form) for prompt in prompts] == prompts
    assert spell_out("a text", "chatml") == "a text"


def test_a_conversation_without_a_message_is_a_clear_error() -> None:
    with pytest.raises(InputError, match="without a message"):
        spell_out((), "chatml")


def test_two_forms_are_texts() -> None:
    assert [form for form in FORMS if is_text(form)] == ["raw", "blocks"]


@pytest.mark.parametrize(
    ("template", "forms"),
    [
        (None, ["raw", "blocks", "chatml"]),
        (CHATML, ["raw", "blocks", "chat"]),
        (OTHER, ["raw", "blocks", "chat", "chatml"]),
        ([{"name": "tools", "template": CHATML}], ["raw", "blocks", "chatml"]),
        ([{"name": "default", "template": OTHER}], ["raw", "blocks", "chat", "chatml"]),
    ],
)
def test_forms_follow_from_the_template(
    tmp_path: Path, template: object, forms: list[PromptFormat]
) -> None:
    assert list(forms_of(make_folder(tmp_path, template))) == forms


def test_a_template_in_a_file_of_its_own_counts(tmp_path: Path) -> None:
    path = make_folder(tmp_path)
    (tmp_path / "chat_template.jinja").write_text(CHATML)
    assert forms_of(path) == ("raw", "blocks", "chat")


def test_a_model_on_a_server_may_be_asked_in_any_form() -> None:
    assert forms_of("org/name") == FORMS


@pytest.mark.parametrize(
    ("template", "token", "forms"),
    [
        (None, "<s>", {"blocks", "chat"}),
        (None, "<|im_start|>", {"chat", "chatml"}),
        (OTHER, "<|im_start|>", {"chat"}),
    ],
)
def test_a_form_that_is_the_tuned_models(
    tmp_path: Path, template: object, token: str, forms: set[PromptFormat]
) -> None:
    path = make_folder(tmp_path, template, token)
    assert {form for form in FORMS if is_as_tuned(path, form)} == forms
    assert [form for form in FORMS if is_as_tuned("org/name", form)] == ["chat"]


def test_a_chosen_template_stands_for_the_one_in_the_folder(tmp_path: Path) -> None:
    path, chatml = make_folder(tmp_path, None), load_chat_template("chatml").text
    plain = load_chat_template("plain").text
    assert forms_of(path, chatml) == ("raw", "blocks", "chat")
    assert forms_of(path, plain) == ("raw", "blocks", "chat", "chatml")
    assert forms_of(path, OWN) == forms_of(path) == ("raw", "blocks", "chatml")
    assert {form for form in FORMS if is_as_tuned(path, form, chatml)} == {"chat", "chatml"}
    assert {form for form in FORMS if is_as_tuned(path, form, plain)} == {"chat"}


def test_blocks_are_what_our_template_of_that_name_writes(tmp_path: Path) -> None:
    import jinja2

    task = Example(id="a", instruction="Name a colour.", input="one word", response="Blue")
    shot = Example(id="b", instruction="Name a fish.", response="Cod")
    blocks = load_chat_template("blocks").text
    talk = (*messages_of(shot), Message("assistant", "Cod"), *messages_of(task))
    text = jinja2.Template(blocks).render(
        messages=[m._asdict() for m in talk], add_generation_prompt=True, eos_token="<eos>"
    )
    assert text.replace("<eos>", "") == answer_prompt(task, "blocks", [shot])
    assert text.count("<eos>") == 1
    path = make_folder(tmp_path, None)
    assert forms_of(path, blocks) == ("raw", "blocks", "chatml")
    assert {form for form in FORMS if is_as_tuned(path, form, blocks)} == {"blocks", "chat"}
    assert not is_as_tuned(path, "blocks", load_chat_template("plain").text)
