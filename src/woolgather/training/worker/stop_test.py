"""Whether the trained model stops by itself: a few greedy answers to prompts that it was trained on.

The one idea: whoever cannot end an answer that it has just learned ends none. Cheap: eight answers in
one batch, of at most one and a half times the tokens that their references have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import transformers

from woolgather.core.rows import JSON

if TYPE_CHECKING:
    from woolgather.training.worker.setup import AnySetup

ASKED = 8
ROOM = 1.5
"""New tokens, as a multiple of the longest reference among those asked."""
Answered = tuple[list[int], list[int]]
"""Token ids of a prompt and of its reply."""


def choose_prompts(rows: Sequence[Answered], end_id: int) -> list[Answered]:
    """Returns up to `ASKED` rows with a finished reply: from the shorter half, but for the shortest
    quarter, whose one-word replies leave a model no room to stop a little later."""
    finished = sorted((row for row in rows if row[1][-1:] == [end_id]), key=lambda row: len(row[1]))
    first = min(len(finished) // 4, max(0, len(finished) - ASKED))
    some = finished[first : max(first + ASKED, len(finished) // 2)]
    n = min(ASKED, len(some))
    return [some[i * len(some) // n] for i in range(n)]


@torch.inference_mode()
def ask_to_stop(
    setup: AnySetup, model: transformers.PreTrainedModel, rows: Sequence[Answered]
) -> dict[str, JSON]:
    """Returns how many prompts were `asked` and how many answers `stopped`; empty without any."""
    renderer, machine = setup.renderer, setup.machine
    chosen = choose_prompts(rows, renderer.end_id)
    if not chosen:
        return {}
    prompts = [prompt for prompt, _ in chosen]
    width = max(map(len, prompts))
    pad = [[0] * (width - len(p)) + [1] * len(p) for p in prompts]
    ids = [[renderer.pad_id] * (width - len(p)) + p for p in prompts]
    model.eval()
    with torch.autocast(model.device.type, torch.bfloat16, enabled=machine.low):
        made = model.generate(
            input_ids=torch.tensor(ids, device=model.device),
            attention_mask=torch.tensor(pad, device=model.device),
            generation_config=transformers.GenerationConfig(
                do_sample=False,
                use_cache=True,
                max_new_tokens=int(ROOM * max(len(reply) for _, reply in chosen)),
                eos_token_id=list(renderer.end_ids),
                pad_token_id=renderer.pad_id,
            ),
        )
    ends = torch.tensor(renderer.end_ids, device=made.device)
    stopped = torch.isin(made[:, width:], ends).any(dim=1).sum()
    return {"asked": len(chosen), "stopped": int(stopped)}
