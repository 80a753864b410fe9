import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.errors import InputError
from woolgather.prompting.chat_templates import without_default_system
from woolgather.prompting.end_tokens import base_end_token
from woolgather.prompting.messages import Message
from woolgather.prompting.renderer import IGNORE, Renderer

from ..conftest import CHATML, save_tokenizer

USER = (Message("user", "say the list"),)
SYSTEM = (Message("system", "be brief"), *USER)

DEFAULT_LINE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a tiny model<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
ESCAPED_LINE = DEFAULT_LINE.replace("\n", "\\n")
HIDDEN_LINE = (
    "{% if messages[0]['role'] == 'system' %}{% set s = messages[0]['content'] %}"
    "{% set rest = messages[1:] %}{% else %}{% set s = ['a', 'tiny', 'model'] | join(' ') %}"
    "{% set rest = messages %}{% endif %}{{ '<|im_start|>system\\n' + s + '<|im_end|>\\n' }}"
    "{% for m in rest %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
    + CHATML
)


@pytest.fixture
def make(tmp_path: Path) -> Any:
    """A Renderer of a tokenizer made to measure."""

    def build(template: str | None, specials: list[str] | None = None, **settings: Any) -> Renderer:
        specials = specials or ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
        path = tmp_path / f"m{len(list(tmp_path.iterdir()))}"
        save_tokenizer(path, specials, chat_template=template, **settings)
        return Renderer(path, date="2020-02-03")

    return build


@pytest.mark.parametrize("messages", [USER, SYSTEM, (*SYSTEM, Message("assistant", "One"))])
def test_a_training_row_begins_with_the_prompt_and_has_one_end_token(
    tiny_model: Path, messages: tuple[Message, ...]
) -> None:
    renderer = Renderer(tiny_model)
    prompt = renderer.prompt_ids(messages)
    ids, labels = renderer.training_ids(messages, " two <|im_end|> three\n")
    assert ids[: len(prompt)] == prompt
    assert labels == [IGNORE] * len(prompt) + ids[len(prompt) :]
    assert ids[-1] == renderer.end_id == 2
    assert ids[len(prompt) :].count(renderer.end_id) == 1
    assert renderer.decode(ids[len(prompt) :]) == " two <|im_end|> three\n"


def test_a_text_prompt_is_sent_as_it_is(tiny_model: Path) -> None:
    renderer = Renderer(tiny_model)
    ids = renderer.prompt_ids("The dog  sleeps\n")
    assert renderer.decode(ids) == "The dog  sleeps\n"
    assert len(ids) == len(renderer.tokenizer("The dog  sleeps\n").input_ids)


def test_a_conversation_in_raw_format_is_joined(tiny_model: Path) -> None:
    renderer = Renderer(tiny_model)
    assert renderer.decode(renderer.prompt_ids(SYSTEM, "raw")) == "be brief\n\nsay the list\n\n"
    begun = (*SYSTEM, Message("assistant", "1."))
    assert renderer.decode(renderer.prompt_ids(begun, "raw")).endswith("say the list\n\n1.")


def test_a_conversation_in_chatml_is_a_text_behind_the_start_token(make: Any) -> None:
    renderer = make(NO_SYSTEM.replace("<|im_", "<|"), ["<|im_end|>", "</s>"], eos_token="</s>")
    text = "<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\nsay the list<|im_end|>\n"
    text += "<|im_start|>assistant\n"
    assert renderer.prompt_ids(SYSTEM, "chatml") == renderer.prompt_ids(text)
    assert not renderer.begins_in_reasoning(SYSTEM, "chatml")
    assert renderer.end_ids == (0, 1), "as a special token the end of a turn is in no text"


def test_a_conversation_in_blocks_is_joined_like_a_raw_one(tiny_model: Path) -> None:
    renderer = Renderer(tiny_model)
    assert renderer.prompt_ids(SYSTEM, "blocks") == renderer.prompt_ids(SYSTEM, "raw")


def test_an_assistant_beginning_is_continued(tiny_model: Path) -> None:
    renderer = Renderer(tiny_model)
    text = renderer.prompt_text((*USER, Message("assistant", "1. ")))
    assert text == "<|im_start|>user\nsay the list<|im_end|>\n<|im_start|>assistant\n1. "


def test_the_rendering_is_that_of_transformers(tiny_model: Path) -> None:
    renderer = Renderer(tiny_model)
    rows = [{"role": m.role, "content": m.content} for m in SYSTEM]
    theirs = renderer.tokenizer.apply_chat_template(rows, add_generation_prompt=True)
    assert renderer.prompt_ids(SYSTEM) == list(theirs["input_ids"])


@pytest.mark.parametrize("template", [DEFAULT_LINE, ESCAPED_LINE], ids=["plain", "escaped"])
def test_a_default_system_turn_is_taken_out_of_the_template(make: Any, template: str) -> None:
    renderer = make(template, eos_token="<|im_end|>")
    assert renderer.prompt_text(USER) == (
        "<|im_start|>user\nsay the list<|im_end|>\n<|im_start|>assistant\n"
    )
    assert renderer.prompt_text(SYSTEM).startswith("<|im_start|>system\nbe brief<|im_end|>\n<|im")
    assert "tiny" not in renderer.template


def test_a_default_that_cannot_be_taken_out_becomes_an_empty_turn(make: Any) -> None:
    renderer = make(HIDDEN_LINE, eos_token="<|im_end|>")
    assert renderer.prompt_text(USER).startswith("<|im_start|>system\n<|im_end|>\n<|im_start|>user")
    assert "be brief" in renderer.prompt_text(SYSTEM)


def test_a_template_without_a_default_is_left_alone(tiny_model: Path) -> None:
    assert Renderer(tiny_model).template == CHATML


def test_a_refused_system_turn_is_folded_into_the_user_turn(make: Any) -> None:
    renderer = make(NO_SYSTEM, eos_token="<|im_end|>")
    text = renderer.prompt_text(SYSTEM)
    assert text.startswith("<|im_start|>user\nbe brief\n\nsay the list<|im_end|>")
    alone = renderer.prompt_text((Message("system", "be brief"),))
    assert alone.startswith("<|im_start|>user\nbe brief<|im_end|>")


def test_a_conversation_the_template_refuses_is_a_clear_error(make: Any) -> None:
    refusing = (
        "{% if messages | length > 2 %}{{ raise_exception('too long a talk') }}{% endif %}" + CHATML
    )
    with pytest.raises(InputError, match="too long a talk"):
        make(refusing, eos_token="<|im_end|>").prompt_ids((*USER, *USER, *USER))
    with pytest.raises(InputError, match="without a message"):
        make(CHATML, eos_token="<|im_end|>").prompt_ids(())


def test_the_date_is_pinned_and_generation_blocks_and_tojson_work(make: Any) -> None:
    template = "{{ strftime_now('%d %b %Y') }} {{ ['ü'] | tojson }} " + CHATML.replace(
        "{% for message in messages %}", "{% for message in messages %}{% generation %}"
    ).replace("{% endfor %}", "{% endgeneration %}{% endfor %}")
    text = make(template, eos_token="<|im_end|>").prompt_text(USER)
    assert text.startswith('03 Feb 2020 ["ü"] <|im_start|>user\nsay')


def test_without_a_template_chatml_where_its_tokens_are_known(make: Any) -> None:
    renderer = make(None, eos_token="<|endoftext|>")
    assert renderer.origin == "woolgather's template chatml, since the tokenizer has none"
    assert renderer.prompt_text(SYSTEM) == (
        "<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\nsay the list<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert renderer.end_id == 2
    assert renderer.end_ids == (0, 2)


def test_without_a_template_or_its_tokens_blocks_and_the_end_token(make: Any) -> None:
    renderer = make(None, ["<s>", "</s>"], eos_token="</s>")
    talk = (*SYSTEM, Message("assistant", "1"), Message("user", "2"))
    assert renderer.prompt_text(talk) == (
        "be brief\n\n### Task\nsay the list\n\n### Answer\n1</s>\n\n### Task\n2\n\n### Answer\n"
    )
    ids, labels = renderer.training_ids(USER, " yes")
    assert (ids[-1], renderer.end_id, renderer.end_ids) == (1, 1, (1,))
    assert renderer.decode([i for i in labels if i != IGNORE]) == " yes"


def test_the_start_token_comes_once(make: Any, tmp_path: Path) -> None:
    plain = make(None, ["<s>", "</s>"], eos_token="</s>", bos_token="<s>")
    path = tmp_path / "starting"
    shutil.copytree(plain.path, path)
    from tokenizers import Tokenizer, processors

    inner = Tokenizer.from_file(str(path / "tokenizer.json"))
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 0)]
    )
    inner.save(str(path / "tokenizer.json"))
    renderer = Renderer(path)
    for prompt in ("the dog", "<s>the dog", USER):
        ids = renderer.prompt_ids(prompt)
        assert ids[0] == 0
        assert ids.count(0) == 1
    assert 0 not in plain.prompt_ids("the dog")
    assert 0 not in renderer.continuation_ids(" the dog")


def test_a_tokenizer_that_puts_a_space_first_does_not_put_it_in_a_continuation(
    make: Any, tmp_path: Path
) -> None:
    from tokenizers import Tokenizer, pre_tokenizers

    path = tmp_path / "spaced"
    shutil.copytree(make(CHATML, eos_token="<|im_end|>").path, path)
    inner = Tokenizer.from_file(str(path / "tokenizer.json"))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    inner.save(str(path / "tokenizer.json"))
    renderer = Renderer(path)
    assert renderer.decode(renderer.continuation_ids("dog")) == "dog"


def test_save_writes_what_was_trained_and_a_config_that_stops(make: Any, tmp_path: Path) -> None:
    renderer = make(DEFAULT_LINE, eos_token="<|endoftext|>")
    (Path(renderer.path) / "generation_config.json").write_text(
        json.dumps({"temperature": 0.6, "eos_token_id": [0]})
    )
    out = tmp_path / "out"
    renderer.save(out)
    again = Renderer(out)
    assert again.template == renderer.template
    assert again.training_ids(SYSTEM, "yes") == renderer.training_ids(SYSTEM, "yes")
    settings = json.loads((out / "generation_config.json").read_text())
    assert settings == {"temperature": 0.6, "eos_token_id": [0, 2], "pad_token_id": 0}
    theirs = again.tokenizer.apply_chat_template(
        [{"role": "user", "content": "say the list"}], add_generation_prompt=True, tokenize=False
    )
    assert theirs == renderer.prompt_text(USER)


def test_end_tokens_of_the_generation_config_end_too(make: Any) -> None:
    renderer = make(CHATML, eos_token="<|im_end|>")
    (Path(renderer.path) / "generation_config.json").write_text('{"eos_token_id": [0, 2]}')
    assert Renderer(renderer.path).end_ids == (0, 2)


def test_the_end_token_of_a_tokenizer_that_names_none(make: Any) -> None:
    assert make(None, ["<s>", "</s>"]).eos_token == "</s>"
    with pytest.raises(InputError, match="eos_token"):
        make(None, ["<s>"])


def test_a_directory_without_a_tokenizer_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no tokenizer could be loaded"):
        Renderer(tmp_path)


def test_base_end_token_prefers_the_tokenizers_own(tiny_model: Path) -> None:
    assert base_end_token(Renderer(tiny_model).tokenizer) == "<|im_end|>"


@pytest.mark.parametrize(
    "turn",
    ["{{ '[system]' }}{{ 'DEFAULT[/]' }}", "{{ '[system]DEFAULT' }}{{ '[/]' }}"],
    ids=["opener apart", "closer apart"],
)
def test_a_turn_that_would_go_only_in_part_is_not_cut(turn: str) -> None:
    def render(template: str, messages: list[dict[str, str]]) -> str:
        import jinja2

        return jinja2.Template(template).render(messages=messages)

    shared = (
        f"{{% if messages[0].role != 'system' %}}{turn}{{% endif %}}"
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}[/]{% endfor %}"
    )
    changed = without_default_system(shared, render)
    user = [{"role": "user", "content": "u"}]
    assert changed.endswith(shared)
    assert render(changed, user) == "[system][/][user]u[/]"


@pytest.mark.real
def test_the_embedded_model(smollm2: Path) -> None:
    renderer = Renderer(smollm2)
    text = renderer.prompt_text(USER)
    assert text == "<|im_start|>user\nsay the list<|im_end|>\n<|im_start|>assistant\n"
    ids, _ = renderer.training_ids(USER, "It is 123.")
    assert ids[: len(renderer.prompt_ids(USER))] == renderer.prompt_ids(USER)
    assert renderer.decode(ids).endswith("It is 123.")
    assert ids.count(renderer.end_id) == 2, "one of the user turn, one of the reply"
    assert renderer.end_ids == (2,)
    digits = renderer.continuation_ids("123")
    assert len(digits) == 3, "this tokenizer splits off every digit"


LINES = 'Reply "well".\nKnow {{ the }} {% web %} #} – 🙂'


@pytest.mark.parametrize("template", [CHATML, DEFAULT_LINE, HIDDEN_LINE, NO_SYSTEM])
def test_system_lines_go_into_the_template_and_come_out_again(
    make: Any, tmp_path: Path, template: str
) -> None:
    plain = make(template, eos_token="<|im_end|>")
    plain.save(tmp_path / "lined", system=LINES)
    lined = Renderer(tmp_path / "lined")
    assert (plain.system, lined.system) == ("", LINES)
    assert lined.template == plain.template
    wanted = plain.prompt_text((Message("system", LINES), *USER))
    assert lined.prompt_text(USER) == wanted
    assert lined.prompt_text(SYSTEM) == plain.prompt_text(SYSTEM), "one given replaces them"
    assert LINES in wanted
    assert lined.prompt_ids(USER) == plain.prompt_ids((Message("system", LINES), *USER))
    ids, _ = plain.training_ids((Message("system", LINES), *USER), "yes")
    assert lined.training_ids(USER, "yes")[0] == ids
    theirs = lined.tokenizer.apply_chat_template(
        [{"role": "user", "content": USER[0].content}], add_generation_prompt=True, tokenize=False
    )
    assert theirs == wanted


def test_system_lines_outlive_a_copy_and_may_be_replaced(make: Any, tmp_path: Path) -> None:
    make(CHATML, eos_token="<|im_end|>").save(tmp_path / "a", system="One.")
    Renderer(tmp_path / "a").save(tmp_path / "b")
    assert Renderer(tmp_path / "b").system == "One."
    Renderer(tmp_path / "b").save(tmp_path / "c", system="Two.")
    again = Renderer(tmp_path / "c")
    assert again.system == "Two."
    assert again.tokenizer.chat_template.count("woolgather_system =") == 1


THINKS = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n<think>\\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '\\n</think>\\n\\n' }}{% endif %}"
    "{% endif %}"
)


def test_a_reply_is_trained_on_behind_the_reasoning_that_the_template_opens(make: Any) -> None:
    renderer = make(THINKS, eos_token="<|im_end|>")
    ids, labels = renderer.training_ids(USER, "yes")
    prompt = renderer.prompt_ids(USER)
    assert ids[: len(prompt)] == prompt
    assert renderer.decode(ids[len(prompt) :]) == "\n</think>\n\nyes"
    assert labels[len(prompt) :] == ids[len(prompt) :]
    assert renderer.begins_in_reasoning(USER)
    assert not renderer.begins_in_reasoning("Say yes.\n")
    assert renderer.begins_in_reasoning("Say yes.\n<think>\n")
    begun = (*USER, Message("assistant", "One"))
    assert renderer.prompt_text(begun).endswith("<think>\n\n</think>\n\nOne")
    assert not renderer.begins_in_reasoning(begun)


def test_template_variables_are_seen_and_saved(make: Any, tmp_path: Path) -> None:
    plain = make(THINKS, eos_token="<|im_end|>")
    off = Renderer(plain.path, variables={"enable_thinking": False, "effort": 'so "low"\n', "n": 2})
    assert off.prompt_text(USER).endswith("<think>\n\n</think>\n\n")
    assert not off.begins_in_reasoning(USER)
    ids, _ = off.training_ids(USER, "yes")
    assert off.decode(ids[len(off.prompt_ids(USER)) :]) == "yes"
    off.save(tmp_path / "saved", system="Think.")
    again = Renderer(tmp_path / "saved")
    assert again.system == "Think."
    assert again.prompt_text(USER) == again.prompt_text((Message("system", "Think."), *USER))
    assert again.prompt_text(SYSTEM) == off.prompt_text(SYSTEM)
    theirs = again.tokenizer.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in SYSTEM],
        add_generation_prompt=True, tokenize=False,
    )  # fmt: skip
    assert theirs == off.prompt_text(SYSTEM)
    on = Renderer(tmp_path / "saved", variables={"enable_thinking": True})
    assert on.prompt_text(SYSTEM) == plain.prompt_text(SYSTEM)


def test_tags_of_reasoning_that_are_special_tokens_are_read_all_the_same(make: Any) -> None:
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "[THINK]", "[/THINK]"]
    renderer = make(CHATML, specials, eos_token="<|im_end|>",
                    additional_special_tokens=specials[3:])  # fmt: skip
    ids = renderer.tokenizer("[THINK]hm[/THINK]yes<|im_end|>", add_special_tokens=False).input_ids
    assert {3, 4} <= set(ids)
    assert renderer.continuation_text(ids) == "[THINK]hm[/THINK]yes"
