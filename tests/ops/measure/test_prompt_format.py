"""The format with the lower loss on the seeds is the one a base is prompted in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from woolgather.core.rows import Example
from woolgather.engines.base import LogProb
from woolgather.engines.fake import FAKE_MODEL, FakeEngine
from woolgather.ops.measure.prompt_format import choose_format
from woolgather.prompting.messages import Prompt

ROWS = [Example(instruction=f"Say {i}", response="yes it is") for i in range(4)]


class Fixed(FakeEngine):
    """Every token costs `loss`."""

    def __init__(self, loss: float, form: str) -> None:
        super().__init__(model=replace(FAKE_MODEL, prompt_format=form))
        self.loss = loss

    def sequence_logprobs(
        self, prompts: Sequence[Prompt], continuations: Sequence[str], temperature: float = 1.0
    ) -> list[LogProb]:
        kinds = {isinstance(p, str) for p in prompts}
        assert kinds == {self.model.prompt_format == "raw"}
        return [LogProb(-self.loss * 3, 3) for _ in prompts]


@pytest.mark.parametrize(("raw", "chat", "chosen"), [(1.0, 2.0, "raw"), (2.0, 1.0, "chat")])
def test_lower_loss_wins_and_both_are_named(raw: float, chat: float, chosen: str) -> None:
    choice = choose_format(ROWS, Fixed(raw, "raw"), Fixed(chat, "chat"))
    assert choice.value == chosen
    assert f"raw {raw:.3f}" in choice.why
    assert f"chat {chat:.3f}" in choice.why
