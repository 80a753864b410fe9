"""Reasoning before an answer, as the transformers engine tells it from the tokens of a text."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from woolgather.core.artifacts import Model
from woolgather.engines.base import EngineOptions, LogProb, Request, Sampling
from woolgather.engines.local.engine import TransformersEngine
from woolgather.engines.rendered import Unfinished, completion_of, ending
from woolgather.prompting.messages import Message
from woolgather.prompting.renderer import Renderer

from ...conftest import CHATML

pytestmark = pytest.mark.usefixtures("one_thread")
OPENS = CHATML.replace(
    "'<|im_start|>assistant\\n'",
    "'<|im_start|>assistant\\n<think>\\n' ~ "
    "('' if enable_thinking | default(true) else '\\n</think>\\n\\n')",
)
TALK = (Message("user", "the dog"),)


@pytest.fixture
def opening(tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny model with a template that opens the reasoning."""
    path = tmp_path / "opening"
    shutil.copytree(tiny_model, path)
    renderer = Renderer(path)
    renderer.template = OPENS
    renderer.save(path)
    return path


def written(renderer: Renderer, text: str, *, opened: bool = False, limit: int = 99) -> Unfinished:
    row = Unfinished(0, [5, 6], Sampling(stop=("\n\n", "END")), limit, opened)
    row.new = renderer.continuation_ids(text)
    return row


@pytest.mark.parametrize(("text", "opened", "ends"), [
    ("<think>first\n\n", False, None),
    ("first\n\n", True, None),
    ("first END", True, None),
    ("<think>first\n\nsecond</think>\n\n", False, None),
    ("<think>first\n\nsecond</think>\n\nyes\n\n", False, "stop"),
    ("first</think>yes END", True, "stop"),
    ("first\n\n", False, "stop"),
    ("first", False, None),
])  # fmt: skip
def test_only_the_answer_ends_at_a_stop_text(
    tiny_model: Path, text: str, opened: bool, ends: str | None
) -> None:
    renderer = Renderer(tiny_model)
    assert ending(written(renderer, text, opened=opened), renderer) == ends
    row = written(renderer, text, opened=opened, limit=1)
    assert ending(row, renderer) == ("stop" if ends else "length")


def test_the_completion_is_the_answer_with_its_reasoning_beside_it(tiny_model: Path) -> None:
    renderer = Renderer(tiny_model)
    row = written(renderer, "<think>first\n\nsecond</think>\n\nyes END")
    found = completion_of(row, "stop", renderer)
    assert (found.text, found.finish_reason, found.reasoning) == ("yes ", "stop", "first\n\nsecond")
    assert (found.prompt_tokens, found.completion_tokens) == (2, len(row.new))
    row = written(renderer, "hm")
    row.new.append(renderer.end_id)
    assert completion_of(row, "stop", renderer).text == "hm"


def test_a_text_that_ends_within_reasoning_that_the_template_opened_is_unfinished(
    opening: Path,
) -> None:
    short = Sampling(max_tokens=6)
    asked = [Request(TALK, short), Request((*TALK, Message("assistant", "a")), short)]
    model = Model(str(opening), "m")
    options = EngineOptions(dtype="float32")
    found = dict(TransformersEngine(model, options).complete(asked))
    assert (found[0].text, found[0].finish_reason) == ("", "length")
    assert found[0].reasoning
    assert found[1].reasoning == ""  # an answer that is begun has its reasoning behind it
    off = TransformersEngine(model.with_variables({"enable_thinking": False}), options)
    found = dict(off.complete(asked[:1]))
    assert found[0].reasoning == ""


def test_an_answer_is_likely_or_not_behind_the_reasoning(opening: Path) -> None:
    options = EngineOptions(dtype="float32")
    engine = TransformersEngine(Model(str(opening), "m"), options)
    off = TransformersEngine(
        Model(str(opening), "m").with_variables({"enable_thinking": False}), options
    )
    (one,), (two,) = (e.sequence_logprobs([TALK], ["sleeps"]) for e in (engine, off))
    assert isinstance(one, LogProb)
    assert one.total == pytest.approx(two.total, abs=1e-4)
    (row,), (same,) = (e.option_logprobs([TALK], ["yes", "no"]) for e in (engine, off))
    assert row == pytest.approx(same, abs=1e-4)
