"""Files that steer alignment: ours are whole, and a wrong one is refused with line and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from woolgather.core.errors import ConfigError, InputError
from woolgather.ops.principles.files import (
    Principle,
    builtin,
    read_exemplars,
    read_kinds,
    read_principles,
)
from woolgather.ops.principles.replies import CopiedText, find_principles

CANDOR = (Principle("candor", "Say what you do not know."),)
GOOD = '{"question": "Q%d?", "thought": "I am asked.", "principles": ["candor"], "answer": "A."}\n'


def file(tmp_path: Path, text: str, name: str = "mine.md") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_ours_are_whole() -> None:
    v1, v2 = (read_principles(builtin("principles", v)) for v in ("v1", "v2"))
    assert [len(v1), len(v2)] == [16, 17]
    assert v2[:16] == v1
    assert [p.name for p in v1] == [
        "ethical", "informative", "helpful", "question assessment", "reasoning", "multi-aspect",
        "candor", "knowledge recitation", "static", "clarification", "numerical sensitivity",
        "dated knowledge", "step-by-step", "balanced", "creative", "operational",
    ]  # fmt: skip
    e1 = read_exemplars(builtin("exemplars", "v1"), v1)
    e2 = read_exemplars(builtin("exemplars", "v2"), v2)
    assert [len(e1), len(e2)] == [5, 6]
    assert e2[:5] == e1
    assert e2[5].principles[0] == "overview"
    assert len(read_kinds(builtin("kinds"))) == 20


def test_our_exemplars_pass_the_reading_that_answers_go_through() -> None:
    principles = read_principles(builtin("principles", "v2"))
    ruled = CopiedText(f"{p.name}: {p.text}" for p in principles)
    for exemplar in read_exemplars(builtin("exemplars", "v2"), principles):
        names = [p.name for p in principles]
        assert find_principles(exemplar.thinking, names) == (list(exemplar.principles), [])
        assert ruled.share(exemplar.answer) == 0


def test_names_lines_and_marks_of_a_list(tmp_path: Path) -> None:
    path = file(
        tmp_path,
        "<!-- a\ncomment -->\n# Mine\n\n1. **Candor**: Say what\n   you know.\n\n"
        "* _Quite  Brief_: Be brief: always.\n- static: You are `fixed`.\n",
    )
    assert read_principles(path) == (
        Principle("candor", "Say what you know."),
        Principle("quite brief", "Be brief: always."),
        Principle("static", "You are `fixed`."),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"mine\.md holds no principles\. A good line: - name"),
        ("# Only a heading\n", "holds no principles"),
        ("- candor: Be open.\n\n- Be brief.\n", "line 3: a principle without a name.*colon first"),
        ("- : Be open.\n", "line 1: a principle without a name"),
        ("- candor:\n", "line 1: the principle 'candor' has no text"),
        (
            "- candor: One.\n- brief: Two.\n- **Candor**: Three.\n",
            "line 3: the principle 'candor' stands in line 1 already. Rename one",
        ),
        ("Be open.\n", "line 1: text that belongs to no principle"),
        ("- never, ever: x\n", "line 1: 'never, ever' is no name"),
        ("- this name is much too long for one: x\n", "line 1:.*up to six words"),
    ],
)
def test_a_wrong_list_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_principles(file(tmp_path, text))


def test_a_list_that_is_no_text_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_principles(tmp_path / "none.md")
    (tmp_path / "bad.md").write_bytes(b"- candor: x\n- caf\xe9: y\n")
    with pytest.raises(InputError, match="line 2: not UTF-8"):
        read_principles(tmp_path / "bad.md")
    with pytest.raises(InputError, match="holds no kinds of question"):
        read_kinds(file(tmp_path, "<!-- - law: x -->\n"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"holds no exemplars\. A good line: \{"),
        ("nothing\n", "line 1: not valid JSON"),
        ("[1]\n", "line 1: expected a JSON object, found a list"),
        (GOOD % 1 + '{"question": "Q?", "answer": "A."}\n', "line 2: field 'thought' is missing"),
        (GOOD.replace('"A."', "3") % 1, "line 1: field 'answer' is the number 3, not text"),
        (GOOD.replace('"A."', r'"\ud83d"') % 1, "line 1: field 'answer' has half a character at 1"),
        (GOOD.replace('"A."', '" "') % 1, "line 1: field 'answer' is empty"),
        (GOOD.replace('["candor"]', "[]") % 1, "line 1: field 'principles' is not a list"),
        (
            GOOD % 1 + GOOD.replace("candor", "candour") % 2,
            "line 2: unknown principle 'candour'. Did you mean 'candor'",
        ),
        (GOOD.replace("candor", "wit") % 1, "There are: candor.*add the principle to the file"),
        (GOOD % 1 + GOOD % 1, "line 2: this question stands in line 1 already"),
    ],
)
def test_wrong_exemplars_are_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_exemplars(file(tmp_path, text, "mine.jsonl"), CANDOR)


def test_the_first_few_exemplars_are_taken_and_all_are_checked(tmp_path: Path) -> None:
    path = file(tmp_path, GOOD % 1 + GOOD % 2, "mine.jsonl")
    assert [e.question for e in read_exemplars(path, CANDOR, 1)] == ["Q1?"]
    with pytest.raises(ConfigError, match=r"align\.exemplars is 3, and .* holds 2"):
        read_exemplars(path, CANDOR, 3)
    wrong = file(tmp_path, GOOD % 1 + GOOD.replace("candor", "wit") % 2, "other.jsonl")
    with pytest.raises(InputError, match="line 2"):
        read_exemplars(wrong, CANDOR, 1)
