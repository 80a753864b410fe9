"""A conversation of several turns is learned reply by reply."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from woolgather.prompting.messages import Message
from woolgather.prompting.renderer import IGNORE, Renderer

from ..conftest import CHATML, save_tokenizer

TALK = (
    Message("system", "be brief"), Message("user", "say the list"), Message("assistant", "one, two"),
    Message("user", "and more?"),
    Message("assistant", "three"), Message("user", "thanks"),
)  # fmt: skip


def learned(ids: list[int], labels: list[int]) -> list[list[int]]:
    """The stretches with loss."""
    runs = [list(run) for with_loss, run in groupby(labels, lambda i: i != IGNORE) if with_loss]
    assert all(label in (IGNORE, i) for i, label in zip(ids, labels, strict=True))
    return runs


def test_each_reply_of_a_conversation_is_learned_with_its_end(tiny_model: Path) -> None:
    renderer = Renderer(tiny_model)
    ids, labels = renderer.training_ids(TALK, "gladly")
    prompt = renderer.prompt_ids(TALK)
    assert ids[: len(prompt)] == prompt, "begins with what the model is asked"
    assert ids.count(renderer.end_id) == 7, "one behind each turn"
    runs = learned(ids, labels)
    assert [renderer.decode(run) for run in runs] == ["one, two", "three", "gladly"]
    assert all(run[-1] == renderer.end_id for run in runs)
    for n, asked in enumerate((TALK[:2], TALK[:4])):
        start = len(renderer.prompt_ids(asked))
        assert labels[start - 1] == IGNORE
        assert labels[start : start + len(runs[n])] == runs[n], "right behind its prompt"


def test_a_reply_that_the_template_writes_otherwise_later_is_left_without_loss(
    tmp_path: Path,
) -> None:
    past = "message['role'] == 'assistant' and not loop.last"
    shortened = f"(message['content'][:5] if {past} else message['content'])"
    save_tokenizer(
        tmp_path,
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        eos_token="<|im_end|>",
        chat_template=CHATML.replace("message['content']", shortened),
    )
    ids, labels = Renderer(tmp_path).training_ids(TALK, "gladly")
    assert [Renderer(tmp_path).decode(run) for run in learned(ids, labels)] == ["three", "gladly"]
