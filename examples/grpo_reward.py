"""The checks of verified rows as a reward of TRL's GRPO: `python examples/grpo_reward.py MODEL ROWS OUT`.

A check that made a training row decides just as well about a new answer. MODEL is a folder or a name on
the hub, ROWS the folder of a step `verify` in a run; a file of your own checks may be a fourth word.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from woolgather import Example
from woolgather.core.rows import question
from woolgather.core.storage import read_rows
from woolgather.ops.curate.constraints import read_check_file, read_constraints


def make_reward(checks: str = "") -> Callable[..., list[float]]:
    """Returns the reward: the share of its constraints that an answer meets, 0 for an empty one."""
    known = read_check_file(checks).checks()

    def share_met(
        completions: Sequence[str | Sequence[dict[str, str]]],
        constraints: Sequence[str],
        **_: object,
    ) -> list[float]:
        rewards = []
        for said, told in zip(completions, constraints, strict=True):
            text = said if isinstance(said, str) else said[-1]["content"]
            met = [each.holds(text) for each in read_constraints(json.loads(told), known)]
            rewards.append(sum(met) / len(met) if text.strip() else 0.0)
        return rewards

    return share_met


def prompts(rows: Path) -> Dataset:
    """Returns the tasks of a step as TRL takes them, with what each asks for as JSON."""
    asked = [row for row in read_rows(rows) if isinstance(row, Example) and not row.set_aside]
    turns = [[{"role": "user", "content": question(row)}] for row in asked]
    told = [json.dumps(row.meta["constraints"]) for row in asked]
    return Dataset.from_dict({"prompt": turns, "constraints": told})


def main(model: str, rows: str, out: str, checks: str = "", **settings: object) -> None:
    """Trains on the rows and saves the model; `settings` are fields of TRL's GRPOConfig."""
    args = GRPOConfig(output_dir=out, **settings)
    trainer = GRPOTrainer(model, make_reward(checks), args, prompts(Path(rows)))
    trainer.train()
    trainer.save_model(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
