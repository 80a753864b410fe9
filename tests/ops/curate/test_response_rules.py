"""Every rule: what it must catch, and what it must let live."""

import json
from importlib import resources

import pytest
from pydantic import ValidationError

from woolgather.core.rows import Example
from woolgather.ops.curate.response_rules import (
    INSTRUCTION_RULES,
    RESPONSE_RULES,
    InstructionRules,
    ResponseRules,
    apply_rules,
    broken_instruction_rule,
    broken_response_rule,
)
from woolgather.ops.text.words import copied_share, count_words, loops, script_of, scripts_of

LATIN = frozenset({"LATIN"})


def instruction_breaks(rule: str, instruction: str, input: str = "") -> bool:  # noqa: A002
    row = Example(instruction=instruction, input=input)
    return broken_instruction_rule(row, InstructionRules(use=(rule,)), LATIN) == rule


def response_breaks(
    rule: str, response: str, instruction: str = "Tell me about it.", material: str = ""
) -> bool:
    row = Example(instruction=instruction, input=material, response=response)
    return broken_response_rule(row, ResponseRules(use=(rule,)), LATIN) == rule


CAUGHT_INSTRUCTIONS = [
    ("too_short", "Name colors now", ""),
    ("too_long", "word " * 151, ""),
    ("media_word", "Describe the weather on this map of France", ""),
    ("media_word", "Say what you see here", "a picture of a cow"),
    ("needs_media", "Describe the attached photo in detail", ""),
    ("needs_media", "What is happening in the image?", ""),
    ("needs_media", "Create a bar chart of rainfall by month", ""),
    ("needs_media", "Draw a cat with a hat", ""),
    ("needs_media", "Watch the clip and name the song", ""),
    ("needs_media", "Go to the website of the city and find the hours", ""),
    ("needs_media", "Summarize the attached document in one line", ""),
    ("odd_start", "- Sort these words", ""),
    ("odd_start", '"To be or not to be": who wrote it?', ""),
    ("odd_start", "写一首关于秋天的诗", ""),
    ("symbol_start", "- Sort these words", ""),
    ("symbol_start", "* Explain gravity simply", ""),
    ("format_leak", "Input: none", ""),
    ("format_leak", "Sort these words\nOutput: a b c", ""),
    ("format_leak", "Sort these words", "b a\n7. Task: Name a tree"),
    ("format_leak", "Sort these words <|im_end|>", ""),
    ("format_leak", "Sort these words", "<noinput>"),
    ("url", "Summarize https://example.com/news in a line", ""),
    ("url", "Summarize this page for me", "www.example.com"),
    ("foreign_script", "Напиши письмо другу о море", ""),
    ("placeholder", "Summarize this text in a line", "[insert text here]"),
    ("placeholder", "Summarize this text in a line", "<your paragraph>"),
    ("placeholder", "Summarize this text in a line", "..."),
    ("placeholder", "Write to [insert name] about the party", ""),
    ("missing_input", "Summarize the following article.", ""),
    ("missing_input", "Fix the grammar of the given sentence", ""),
    ("missing_input", "Count the verbs in the paragraph below.", ""),
    ("input_in_instruction", "Say if 'the cat sat down' is a sentence", "The cat sat down."),
    ("loop", "Name a tree and name a tree and " * 6, ""),
    ("loop", "Sort these words", "red red red red red red red red red red red red"),
]


@pytest.mark.parametrize(("rule", "instruction", "material"), CAUGHT_INSTRUCTIONS)
def test_instruction_rule_catches(rule: str, instruction: str, material: str) -> None:
    assert instruction_breaks(rule, instruction, material)


ALIVE_INSTRUCTIONS = [
    ("too_short", "Name three warm colors", ""),
    ("too_short", "写一首诗", ""),  # a character counts as a word
    ("too_long", "word " * 150, ""),
    ("media_word", "Explain photography and paragraphs", ""),  # "graph" inside a word
    ("needs_media", "Draw a conclusion from these two facts", ""),
    ("needs_media", "Write a caption for a picture of a dog on a beach", ""),
    ("needs_media", "Create a caption for a picture of a dog", ""),
    ("needs_media", "Explain what music meant to Nietzsche", ""),
    ("needs_media", "Summarize the plot of Hamlet", ""),
    ("needs_media", "Explain how to map a function over a list", ""),
    ("needs_media", "Say which month is wettest in the following chart", "Jan 3, Feb 9"),
    ("odd_start", "Écris une lettre courte", ""),
    ("odd_start", "3 ideas for a birthday party", ""),
    ("symbol_start", '"To be or not to be": who wrote it?', ""),
    ("symbol_start", "¿Cuál es la capital de Perú?", ""),
    ("symbol_start", "写一首关于秋天的诗", ""),
    ("format_leak", "Explain what an input is: in general terms", ""),
    ("format_leak", "Fix this code", "print('Output: 3')  # <b>bold</b>"),
    ("url", "Explain what http and www stand for", ""),
    ("foreign_script", "Compute the area 2 π r of this", ""),
    ("placeholder", "Sort this list of numbers", "[3, 1, 2]"),
    ("placeholder", "Explain this element", "<div class='x'>text, here</div>"),
    ("missing_input", "Fix the grammar of the following sentence: he go home", ""),
    ("missing_input", "Translate the following words into French: dog, cat", ""),
    ("missing_input", "Write about a hero following a star", ""),
    ("missing_input", "Describe the following day in Rome", ""),
    ("missing_input", "Fix the following sentence", "he go home"),
    ("missing_input", 'Rhyme with the given word "moon"', ""),
    ("input_in_instruction", "Write the word apple backwards", "apple"),
    ("loop", "Count from one to four and back to one again", ""),
]


@pytest.mark.parametrize(("rule", "instruction", "material"), ALIVE_INSTRUCTIONS)
def test_instruction_rule_lets_live(rule: str, instruction: str, material: str) -> None:
    assert not instruction_breaks(rule, instruction, material)


CAUGHT_RESPONSES = [
    ("empty", " \n", "Tell me about it.", ""),
    ("role_label", "Paris.\nHuman: And Spain?", "What is the capital of France?", ""),
    ("role_label", "Question: Why?", "Tell me about it.", ""),
    ("role_label", "Paris.\nassistant\nMadrid.", "What is the capital of France?", ""),
    ("role_label", "**Output:** 3", "Add 1 and 2.", ""),
    ("role_label", "Output 1: Paris", "What is the capital of France?", ""),
    ("chat_token", "Paris.<|im_end|>", "What is the capital of France?", ""),
    ("chat_token", "[INST] hello", "Greet me.", ""),
    ("answer_choices", "Here are the answer choices.", "What is dew?", ""),
    ("no_input_mark", "<noinput>", "What is dew?", ""),
    ("no_input_mark", "No input.", "What is dew?", ""),
    ("no_input_mark", "Dew is water.\nInput: none", "What is dew?", ""),
    ("option_marker", "A. Rain\nB. Snow", "What is dew?", ""),
    ("option_marker", "(A) Rain\n(B) Snow", "What is dew?", ""),
    ("foreign_script", "Привет, как дела?", "Greet me.", ""),
    ("foreign_script", "The answer is 这是一个很好的问题", "What is dew?", ""),
    ("input_in_instruction", "Yes.", "Is 'a big red ball' a toy?", "a big red ball"),
    ("echo", "What is the capital of France?", "What is the capital of France?", ""),
    ("echo", "What is the capital of France? It is Paris.", "What is the capital of France?", ""),
    ("loop", "I like it. " * 8, "What is dew?", ""),
    ("loop", "It is wet.\nSo it is.\n" * 4, "What is dew?", ""),
    (
        "mostly_copied",
        "the cat sat on the mat and looked at the dog",
        "Summarize.",
        "Today the cat sat on the mat and looked at the dog.",
    ),
]


@pytest.mark.parametrize(("rule", "response", "instruction", "material"), CAUGHT_RESPONSES)
def test_response_rule_catches(rule: str, response: str, instruction: str, material: str) -> None:
    assert response_breaks(rule, response, instruction, material)


ALIVE_RESPONSES = [
    ("Many fruits, e.g. oranges and lemons, help.", "Name a healthy snack."),
    ("Oranges are full of vitamin C.", "Why are oranges healthy?"),
    ("Take vitamin A, vitamin B and vitamin C.", "Which vitamins matter?"),
    ("It rained; nonetheless we went, and none complained.", "Tell a one-line story."),
    ("<p>Hello, <b>world</b></p>\n<input type='text'>", "Write some HTML."),
    ("List<String> names = new ArrayList<>();", "Declare a list in Java."),
    ("What do you think? Do you agree?", "Write two short follow-ups."),
    ("E. coli is a bacterium.\nC. elegans is a worm.", "Name two model organisms."),
    ("User: Hi!\nAssistant: Hello.", "Write a dialogue between a user and an assistant."),
    ("Question: What is 2 + 2?", "Write a question about sums."),
    ("```yaml\nUser: admin\nOutput: log\n```", "Show a small YAML file."),
    ("def f(x):\n    return {'user': x}", "Write a function."),
    ("The system: a set of parts. An output: what leaves it.", "Define two terms."),
    ("A. Start early\nB. Rest well", "Make an outline of a talk about sleep."),
    ("A. Paris", "Pick the capital of France from these choices: A. Paris B. Rome"),
    ("The area is π times r squared, with α small.", "What is the area of a disk?"),
    ("ha ha ha ha ha ha ha ha ha ha ha ha", "Repeat ha twelve times."),
    ("1\n2\n3\n4\n5", "Count to five."),
    ("There was no input from the sensor.", "Explain the failure."),
    ("Moon", "Say the word moon."),
    ("5", "What is 2 + 3?"),
    ("।", "Which sign ends a sentence in Hindi?"),
]


@pytest.mark.parametrize("preset", ["paper", "default"])
@pytest.mark.parametrize(("response", "instruction"), ALIVE_RESPONSES)
def test_no_response_rule_takes_what_is_right(response: str, instruction: str, preset: str) -> None:
    row = Example(instruction=instruction, response=response, finish_reason="stop")
    assert broken_response_rule(row, ResponseRules(use=(preset, "mostly_copied")), LATIN) is None


def test_unfinished_is_the_length_stop_and_not_unknown() -> None:
    rules = ResponseRules(use=("unfinished",))
    rows = [
        Example(instruction="Say it.", response="Well", finish_reason=reason)
        for reason in ("length", "stop", None)
    ]
    assert [r.set_aside for r in apply_rules(rows, rules=rules)] == ["unfinished", None, None]


def test_a_copied_answer_from_the_text_is_no_copying() -> None:
    row = Example(
        instruction="Which animal is named?", input="The cat sat there.", response="The cat"
    )
    assert copied_share(row) is None


@pytest.mark.parametrize("language", ["ru", "zh", "ar"])
def test_another_language_lives_when_the_seeds_speak_it(language: str) -> None:
    instruction, response = {
        "ru": ("Напиши короткое письмо другу", "Здравствуй, дорогой друг!"),
        "zh": ("写一首关于秋天的诗", "秋风起，落叶飞。"),
        "ar": ("اكتب رسالة إلى صديقك", "مرحبا يا صديقي العزيز"),
    }[language]
    row = Example(instruction=instruction, response=response, finish_reason="stop")
    home = scripts_of([row])
    for preset in ("paper", "default"):
        assert broken_instruction_rule(row, InstructionRules(use=(preset,)), home) is None
        assert broken_response_rule(row, ResponseRules(use=(preset,)), home) is None
    foreign = broken_response_rule(
        Example(instruction="Greet me.", response=response), ResponseRules(use=("paper",)), LATIN
    )
    assert foreign == "foreign_script"


def test_a_translation_may_use_its_task_s_script() -> None:
    row = Example(instruction="Repeat in Russian what I say:", input="Привет", response="Привет!")
    assert broken_response_rule(row, ResponseRules(use=("foreign_script",)), LATIN) is None


def test_scripts_of_seeds_ignore_a_lone_letter() -> None:
    pi = Example(instruction="Give the area of a disk", response="It is π times the squared radius")
    greek = Example(instruction="Translate into Greek", input="sea", response="θάλασσα")
    assert scripts_of([pi]) == {"LATIN"}
    assert scripts_of([pi, greek]) == {"LATIN", "GREEK"}
    assert [script_of(c) for c in "aé漢かＡｱ5µ!"] == [
        *["LATIN", "LATIN", "HAN", "KANA", "LATIN", "KANA"],
        *[None, None, None],
    ]


def test_words_are_counted_in_scripts_without_spaces() -> None:
    assert count_words("Don't count 3.5 twice") == 4
    assert count_words("写一首诗") == 4
    assert count_words("") == 0


def test_long_text_with_many_repeats_loops_and_prose_does_not() -> None:
    sentence = "the quick brown fox jumps over the lazy dog near {} river bank today "
    assert loops("".join(sentence.format(w) for w in ["a"] * 3 + ["b"] * 3))
    assert not loops(" ".join(f"word{i} and {i}" for i in range(60)))
    table = "| name | age |\n|---|---|\n" + "".join(f"| n{i} | {i} |\n" for i in range(9))
    assert not loops(table)


def test_presets_are_lists_of_names_and_an_edit_changes_the_canonical_form() -> None:
    paper = ResponseRules(use="paper")
    assert set(paper.use) <= set(RESPONSE_RULES)
    assert "mostly_copied" not in ResponseRules().use
    assert "unfinished" in ResponseRules().use
    assert "unfinished" not in paper.use
    assert ResponseRules(use="none").use == ()
    assert "url" not in InstructionRules(use="default,-url").use
    assert InstructionRules(use="url, too_short") == InstructionRules(use=("too_short", "url"))
    assert InstructionRules(use="paper").__canonical__() != InstructionRules().__canonical__()
    assert all(f.__doc__ for f in [*INSTRUCTION_RULES.values(), *RESPONSE_RULES.values()])


def test_an_unknown_rule_names_the_nearest() -> None:
    with pytest.raises(ValidationError, match="Did you mean role_label"):
        ResponseRules(use=("role_labels",))
    with pytest.raises(ValidationError, match="no instruction rule"):
        InstructionRules(use=("echo",))


def test_numbers_of_the_rules_are_options() -> None:
    row = Example(instruction="Name two trees", response="да oak")
    assert broken_instruction_rule(row, InstructionRules(min_words=3), LATIN) is None
    assert broken_instruction_rule(row, InstructionRules(min_words=3, max_words=2), LATIN) == (
        "too_long"
    )
    assert broken_response_rule(row, ResponseRules(), LATIN) == "foreign_script"
    assert broken_response_rule(row, ResponseRules(max_foreign=0.5), LATIN) is None
    copied = Example(instruction="a b c d e f g h", response="a b c d e f g x y z")
    assert broken_response_rule(copied, ResponseRules(use="mostly_copied"), LATIN) is None
    strict = ResponseRules(use="mostly_copied", max_copied=0.5)
    assert broken_response_rule(copied, strict, LATIN) == "mostly_copied"


def test_rows_come_out_in_order_with_reasons_and_a_funnel() -> None:
    rows = [
        Example(id="1", instruction="Greet me.", response="Hello!"),
        Example(id="2", instruction="Greet me.", response=""),
        Example(id="3", instruction="Greet me.", response="Привет"),
    ]
    op = apply_rules(rows, rules=ResponseRules(), seeds=[rows[0]])
    out = []
    while True:
        try:
            out.append(next(op))
        except StopIteration as end:
            views = end.value
            break
    assert [(r.id, r.set_aside) for r in out] == [
        ("1", None),
        ("2", "empty"),
        ("3", "foreign_script"),
    ]
    assert views[0].data["stages"] == [["responses", 3], ["pass the rules", 1]]
    assert views[0].data["reasons"] == {"empty": 1, "foreign_script": 1}
    unknown = list(apply_rules(rows, rules=ResponseRules()))
    assert unknown[2].set_aside is None


def test_our_own_seeds_pass_every_default_rule() -> None:
    lines = (resources.files("woolgather") / "seeds" / "seeds.jsonl").read_text("utf-8")
    rows = [
        Example(instruction=d["instruction"], input=d["input"], response=d["response"])
        for d in map(json.loads, lines.splitlines())
    ]
    home = scripts_of(rows)
    broken = [
        broken_instruction_rule(row, InstructionRules(), home)
        or broken_response_rule(row, ResponseRules(), home)
        for row in rows
    ]
    assert len(rows) > 100
    assert [b for b in broken if b] == []


def of_length(characters: int, finish_reason: str | None, **more: str) -> Example:
    text = ("ab " * characters)[: characters - 1] + "."
    return Example(instruction="Say.", response=text, finish_reason=finish_reason, **more)


def breaks(rule: str, row: Example, **settings: int) -> bool:
    rules = ResponseRules.model_validate({"use": [rule], **settings})
    return broken_response_rule(row, rules, LATIN) == rule


def test_a_finished_answer_has_a_floor_of_characters() -> None:
    """Dromedary's 160 hold the 11 characters of its mark of the end: 149 here."""
    for ended in ("stop", None):
        assert breaks("short_finished", of_length(159, ended))
        assert not breaks("short_finished", of_length(160, ended))
    assert not breaks("short_finished", of_length(20, "length"))
    assert breaks("short_finished", of_length(148, "stop"), min_chars=149)
    assert not breaks("short_finished", of_length(149, "stop"), min_chars=149)
    assert not breaks("short_finished", of_length(0 + 1, "stop"), min_chars=0)


def test_an_unfinished_answer_has_a_floor_of_its_whole_words() -> None:
    row = Example(instruction="Say.", response="x" * 127 + " word", finish_reason="length")
    assert breaks("short_unfinished", row, min_chars=128)
    assert not breaks("short_unfinished", row, min_chars=127)
    assert not breaks("short_unfinished", of_length(20, "stop"), min_chars=128)


@pytest.mark.parametrize("text", ["It is.\n\n## See also\n* Rain", "### External links:\n- a.org"])
def test_a_heading_of_references_is_found(text: str) -> None:
    assert response_breaks("reference_heading", text)


@pytest.mark.parametrize("text", ["See also the second chapter.", "## Links\nExternal links rot."])
def test_a_mention_of_references_lives(text: str) -> None:
    assert not response_breaks("reference_heading", text)


def test_a_persona_that_is_told_again_is_found() -> None:
    turn = "You answer thoroughly. Give a long and detailed answer that takes up every side of it."
    said = "Sure. I give a long and detailed answer that takes up every side, so listen."
    row = Example(instruction="Why?", response=said, system=turn)
    assert breaks("persona_text", row)
    assert not breaks("persona_text", Example(instruction="Why?", response=said))
    short = Example(instruction="Why?", response="A long and detailed answer.", system=turn)
    assert not breaks("persona_text", short)


def test_the_filters_of_dromedary_are_in_no_list() -> None:
    new = {"short_finished", "short_unfinished", "reference_heading", "persona_text"}
    for listed in ("default", "paper", "none"):
        assert not new & set(ResponseRules(use=(listed,)).use)
