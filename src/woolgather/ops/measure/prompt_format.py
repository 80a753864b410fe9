"""How a base model is prompted: by a chat template, or as raw text.

Many base checkpoints carry a template they were never trained on, so its presence decides nothing:
the format under which the seeds' own responses are less surprising does.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from woolgather.core.artifacts import Choice
from woolgather.core.expected import Expected
from woolgather.core.op import op
from woolgather.core.rows import Example
from woolgather.engines.base import Engine
from woolgather.prompting.messages import Prompt
from woolgather.prompting.turns import answer_prompt


def _work(rows: Iterable[Example], *, rows_used: int, **_: object) -> Expected:
    return Expected(calls=2 * rows_used, value="chat")


@op("choose_format", expects=_work)
def choose_format(
    rows: Iterable[Example], raw: Engine, chat: Engine, *, rows_used: int = 32
) -> Choice:
    """Returns "raw" or "chat": the format with the lower mean loss per token on the responses of `rows`.

    `raw` and `chat` ask the same model in the two formats. Raises CapabilityError when the engine
    has no log-probabilities; then say which with `base_format`.
    """
    used = [row for row in islice(iter(rows), rows_used) if row.response]
    loss: dict[str, float] = {}
    for engine in (raw, chat):
        name = engine.model.prompt_format
        prompts: list[Prompt] = [answer_prompt(row, name) for row in used]
        scored = engine.sequence_logprobs(prompts, [row.response for row in used])
        loss[name] = -sum(s.total for s in scored) / max(1, sum(s.tokens for s in scored))
    better = min(("chat", "raw"), key=loss.__getitem__)
    why = f"loss per token on {len(used)} seed responses: raw {loss['raw']:.3f}, chat {loss['chat']:.3f}"
    return Choice(better, why)
