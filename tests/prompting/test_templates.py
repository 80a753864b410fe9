import json
from typing import Annotated

import pytest
from pydantic import ValidationError

from woolgather.core.errors import InputError
from woolgather.core.fingerprint import canonical
from woolgather.core.options import Options
from woolgather.prompting.templates import Template, available, fill, load, takes


class Settings(Options):
    wording: Annotated[Template, takes("task", "more", must=("task",))] = Template("t", "{{task}}")


def test_filling_is_one_pass():
    template = Template("t", "A {{one}} and {{ two }} and {{one}}.")
    assert template.fields == {"one", "two"}
    assert fill(template, one="{{two}}", two="\\1 {{one}} $x") == (
        "A {{two}} and \\1 {{one}} $x and {{two}}."
    )


def test_what_looks_like_a_field_and_is_none():
    template = Template("t", 'Reply as {"score": {x}} or {{}} or {{ a b }}.')
    assert template.fields == frozenset()
    assert fill(template) == template.text


def test_a_field_without_a_value_is_named():
    with pytest.raises(InputError, match=r"template t: field \{\{two\}\} has no value .given: one"):
        fill(Template("t", "{{one}} {{two}}"), one="1")
    with pytest.raises(InputError, match="given: none"):
        fill(Template("t", "{{one}}"))


def test_values_that_no_field_asks_for_are_left():
    assert fill(Template("t", "{{one}}"), one="1", more="2") == "1"


def test_a_file_of_the_users(tmp_path):
    path = tmp_path / "mine.md"
    path.write_text("<!-- For a test:\ntwo lines. -->\n\nSay {{word}}. <!-- stays -->\n\n")
    template = load(str(path))
    assert template == Template(str(path), "Say {{word}}. <!-- stays -->")
    assert canonical(template) == template.text


def test_only_the_text_is_identity(tmp_path):
    one, two = tmp_path / "one.md", tmp_path / "two.md"
    one.write_text("<!-- this -->\nSay it.")
    two.write_text("\ufeff<!-- and that -->\nSay it.\n", encoding="utf-8")
    assert canonical(load(str(one))) == canonical(load(str(two))) == "Say it."


def test_a_field_that_is_not_given_where_the_template_is_used(tmp_path):
    path = tmp_path / "mine.md"
    path.write_text("{{task}} {{tusk}}")
    with pytest.raises(
        InputError, match=r"field \{\{tusk\}\} is not given here\. Use only: task, x"
    ):
        load(str(path), frozenset({"task", "x"}))
    assert load(str(path), frozenset({"task", "tusk"})).fields == {"task", "tusk"}


def test_a_field_that_a_template_must_have(tmp_path):
    path = tmp_path / "mine.md"
    path.write_text("{{task}}")
    both = frozenset({"task", "reply"})
    with pytest.raises(InputError, match=r"mine\.md: it must have the field \{\{reply\}\}"):
        load(str(path), both, both)
    assert load(str(path), both, frozenset({"task"})).fields == {"task"}


def test_templates_that_are_not_there(tmp_path):
    with pytest.raises(InputError, match="template 'synthesise' is not one of ours"):
        load("synthesise")
    with pytest.raises(InputError, match="no such file"):
        load(str(tmp_path / "none.md"))
    (tmp_path / "folder.md").mkdir()
    with pytest.raises(InputError, match="no such file"):
        load(str(tmp_path / "folder.md"))


def test_a_template_that_is_not_text(tmp_path):
    path = tmp_path / "mine.md"
    path.write_bytes(b"caf\xe9")
    with pytest.raises(InputError, match="byte 4 is not UTF-8"):
        load(str(path))


def test_every_template_of_ours_says_what_it_is_for():
    from importlib import resources

    assert available() == sorted(available())
    for name in available():
        raw = (resources.files("woolgather") / "templates" / f"{name}.md").read_text("utf-8")
        assert raw.startswith("<!-- "), name
        template = load(name)
        assert template.text.strip(), name
        assert not template.text.startswith("<!--"), name


def test_a_setting_is_loaded_by_name_and_shown_and_stored_as_its_name(tmp_path):
    path = tmp_path / "mine.md"
    path.write_text("Do {{task}}.")
    settings = Settings(wording=str(path))
    assert settings.wording == load(str(path))
    assert settings == Settings(wording=load(str(path)))
    assert str(settings.wording) == str(path)
    for stored in (settings.model_dump(), json.loads(settings.model_dump_json())):
        assert stored == {"wording": str(path)}
        assert Settings.model_validate(stored) == settings


def test_the_text_of_a_setting_is_its_identity(tmp_path):
    path, other = tmp_path / "mine.md", tmp_path / "other.md"
    path.write_text("Do {{task}}.")
    other.write_text("Do {{task}}.")
    before = canonical(Settings(wording=str(path)))
    assert before == {"wording": "Do {{task}}."} == canonical(Settings(wording=str(other)))
    path.write_text("Do {{task}} well.")
    assert canonical(Settings(wording=str(path))) != before


def test_a_setting_s_fields_are_checked_with_the_settings(tmp_path):
    path = tmp_path / "mine.md"
    path.write_text("{{task}} {{tusk}}")
    with pytest.raises(InputError, match=r"\{\{tusk\}\} is not given here\. Use only: more, task"):
        Settings(wording=str(path))
    path.write_text("{{more}}")
    with pytest.raises(InputError, match=r"must have the field \{\{task\}\}"):
        Settings(wording=str(path))
    with pytest.raises(InputError, match="no such file"):
        Settings(wording=str(tmp_path / "no.md"))
    with pytest.raises(ValidationError, match="valid string"):
        Settings(wording=5)
