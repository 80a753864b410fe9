"""The chat template as a setting: what each choice asks, trains, saves and says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from woolgather.core.errors import InputError
from woolgather.core.fingerprint import canonical
from woolgather.prompting.messages import Message
from woolgather.prompting.renderer import IGNORE, Renderer
from woolgather.prompting.template_choice import (
    AUTO,
    available,
    load_chat_template,
    read_origin,
    with_origin,
)

from ..conftest import CHATML, save_tokenizer
from .test_renderer import DEFAULT_LINE, HIDDEN_LINE

USER = (Message("user", "say the list"),)
SYSTEM = (Message("system", "be brief"), *USER)
TALK = (*USER, Message("assistant", "One"), Message("user", "more"))
OPENED = "<|im_start|>user\nsay the list<|im_end|>\n<|im_start|>assistant\n"
TINY = "<|im_start|>system\nYou are a tiny model<|im_end|>\n"
MARKS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
PLAIN = ["<s>", "</s>"]


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    """A tokenizer with this template and these special tokens, of which the last ends a text."""

    def build(template: str | None = None, specials: list[str] = MARKS, **settings: Any) -> Path:
        path = tmp_path / f"m{len(list(tmp_path.iterdir()))}"
        ends = {"eos_token": specials[-1], **settings}
        save_tokenizer(path, specials, chat_template=template, **ends)
        return path

    return build


def chosen(name: str | Path, folder: Path) -> Renderer:
    return Renderer(folder, template=load_chat_template(str(name)).text)


def theirs(renderer: Renderer, messages: tuple[Message, ...] = USER) -> str:
    """The same as plain transformers renders it."""
    rows = [{"role": m.role, "content": m.content} for m in messages]
    text: str = renderer.tokenizer.apply_chat_template(  # type: ignore[attr-defined]
        rows, add_generation_prompt=True, tokenize=False
    )
    return text


def test_auto_tells_a_model_nothing(folder: Any) -> None:
    assert load_chat_template("auto") is AUTO
    assert AUTO.text == ""
    renderer = chosen("auto", folder(DEFAULT_LINE))
    assert renderer.prompt_text(USER) == OPENED
    assert renderer.about == (
        'the tokenizer\'s own template, without its system line "You are a tiny model"'
    )


@pytest.mark.parametrize("template", [DEFAULT_LINE, HIDDEN_LINE], ids=["cut", "hidden"])
def test_the_tokenizers_own_keeps_its_system_line(
    folder: Any, tmp_path: Path, template: str
) -> None:
    renderer = chosen("own", folder(template))
    line = "You are a tiny model" if template == DEFAULT_LINE else "a tiny model"
    assert renderer.prompt_text(USER) == f"<|im_start|>system\n{line}<|im_end|>\n{OPENED}"
    assert "tiny" not in renderer.prompt_text(SYSTEM), "one given replaces it"
    assert renderer.about == (
        f'the tokenizer\'s own template; it sends the system line "{line}" where none is given'
    )
    renderer.save(tmp_path / "saved")
    again = Renderer(tmp_path / "saved")
    assert again.prompt_text(USER) == renderer.prompt_text(USER) == theirs(again)
    assert again.prompt_text(SYSTEM) == renderer.prompt_text(SYSTEM) == theirs(again, SYSTEM)
    assert again.about == renderer.about


def test_the_tokenizers_own_must_be_there(folder: Any) -> None:
    with pytest.raises(InputError, match=r"chat_template=own: .* chatml, plain, qwen, spin-in"):
        chosen("own", folder())


def test_a_template_of_ours_replaces_the_tokenizers(folder: Any, tmp_path: Path) -> None:
    renderer = chosen("plain", folder(DEFAULT_LINE))
    asked = "User: say the list\n\nAssistant:"
    assert renderer.prompt_text(USER) == asked
    ids, labels = renderer.training_ids(USER, " yes")
    assert ids[: len(renderer.prompt_ids(USER))] == renderer.prompt_ids(USER)
    assert renderer.decode([i for i in labels if i != IGNORE]) == " yes"
    assert ids[-1] == renderer.end_id == 2
    renderer.save(tmp_path / "saved")
    again = Renderer(tmp_path / "saved")
    assert again.prompt_text(USER) == theirs(again) == asked
    assert again.about == renderer.about == "woolgather's template plain"


def test_chatml_of_qwen_has_its_system_line(folder: Any, tmp_path: Path) -> None:
    renderer = chosen("qwen", folder(DEFAULT_LINE))
    wanted = f"<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{OPENED}"
    assert renderer.prompt_text(USER) == wanted
    assert chosen("chatml", folder(DEFAULT_LINE)).prompt_text(USER) == OPENED
    renderer.save(tmp_path / "saved")
    again = Renderer(tmp_path / "saved")
    assert again.prompt_text(USER) == theirs(again) == wanted
    renderer.save(tmp_path / "lined", system="Be kind.")
    assert "system\nBe kind.<" in Renderer(tmp_path / "lined").prompt_text(USER)


@pytest.mark.parametrize("name", ["chatml", "qwen"])
def test_chatml_needs_its_tokens(folder: Any, name: str) -> None:
    said = rf"template {name} cannot be used: it writes <\|im_start\|>.*chat_template=blocks"
    with pytest.raises(InputError, match=said):
        chosen(name, folder(specials=PLAIN))


def test_the_form_of_spins_paper(folder: Any, tmp_path: Path) -> None:
    renderer = chosen("spin-instruction", folder(DEFAULT_LINE, PLAIN))
    asked = "### Instruction: say the list\n\n### Response: "
    assert renderer.prompt_text(USER) == asked
    assert renderer.prompt_text(SYSTEM) == f"be brief\n\n{asked}"
    assert renderer.prompt_text(TALK) == (
        f"{asked}One</s>\n\n### Instruction: more\n\n### Response: "
    )
    ids, labels = renderer.training_ids(USER, "yes")
    assert ids[: len(renderer.prompt_ids(USER))] == renderer.prompt_ids(USER)
    assert renderer.decode([i for i in labels if i != IGNORE]) == "yes"
    assert ids[-1] == renderer.end_id == 1
    renderer.save(tmp_path / "saved")
    again = Renderer(tmp_path / "saved")
    assert again.prompt_text(TALK) == theirs(again, TALK) == renderer.prompt_text(TALK)


def test_a_chosen_template_begins_with_the_start_token(folder: Any) -> None:
    from tokenizers import Tokenizer, processors

    path = folder(specials=PLAIN, bos_token="<s>")
    inner = Tokenizer.from_file(str(path / "tokenizer.json"))
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 0)]
    )
    inner.save(str(path / "tokenizer.json"))
    ids = chosen("spin-instruction", path).prompt_ids(USER)
    assert (ids[0], ids.count(0)) == (0, 1)


GOOD = "{% for m in messages %}[{{ m.role }}]{{ m.content }}\n{% endfor %}"
OPENS = "{% if add_generation_prompt %}[assistant]{% endif %}"


def test_a_file_is_read_with_the_setting(folder: Any, tmp_path: Path) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text(GOOD + OPENS)
    choice = load_chat_template(str(file))
    assert choice.told == "the template mine.jinja"
    renderer = Renderer(folder(DEFAULT_LINE), template=choice.text)
    assert renderer.prompt_text(USER) == "[user]say the list\n[assistant]"
    before = canonical(choice)
    file.write_text(GOOD + " " + OPENS)
    assert canonical(load_chat_template(str(file))) != before, "an edit is another template"
    renderer.save(tmp_path / "saved")
    saved = load_chat_template(str(tmp_path / "saved" / "chat_template.jinja"))
    assert read_origin(saved.text)[1] == GOOD + OPENS


FAULTY = {
    "no user": ("{{ messages[1:] }}" + OPENS, r"does not write the user's turn"),
    "no reply": ("{{ messages[0].content }}" + OPENS, r"does not write the assistant's turn"),
    "no opening": (GOOD, r"does not write the opening .*add_generation_prompt"),
    "no jinja": (GOOD + "\n{% if x %}", r"line \d: .*Mend the file"),
    "refuses": ("{{ raise_exception('not you') }}", r"cannot be rendered: not you"),
}


@pytest.mark.parametrize(("text", "said"), FAULTY.values(), ids=FAULTY.keys())
def test_a_file_that_lacks_something_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text(text)
    with pytest.raises(InputError, match=rf"^chat_template=.*mine\.jinja.*{said}"):
        load_chat_template(str(file))


def test_a_choice_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"none of auto, own, blocks, chatml, plain, qwen, spin-instruct"
    ):
        load_chat_template("chatlm")
    with pytest.raises(InputError, match="no such file"):
        load_chat_template(str(tmp_path / "mine.jinja"))
    (tmp_path / "latin.jinja").write_bytes(b"caf\xe9")
    with pytest.raises(InputError, match="byte 4 is not UTF-8"):
        load_chat_template(str(tmp_path / "latin.jinja"))


@pytest.mark.parametrize("name", available())
def test_all_of_ours_pass_what_files_must(tmp_path: Path, name: str) -> None:
    file = tmp_path / f"{name}.jinja"
    file.write_text(read_origin(load_chat_template(name).text)[1])
    load_chat_template(str(file))


def test_the_head_changes_nothing_that_is_rendered(folder: Any) -> None:
    for template in (CHATML, "  " + CHATML, "\n" + CHATML):
        plain, headed = folder(template), folder(with_origin(template, 'a {{ "b" #} %}\n c'))
        assert theirs(Renderer(headed)) == theirs(Renderer(plain))
        if not template[0].isspace():
            assert Renderer(headed).origin == 'a {{ "b" # } %} c'
