"""What ships is read like a file of the user's, and so is what others made."""

import os
from pathlib import Path

import pytest

from woolgather.data import builtin_heldout, builtin_seeds, read_examples

SHARED = os.environ.get("WOOLGATHER_SHARED_DATA", "")


def test_what_ships_is_read():
    seeds, held_out = list(read_examples(builtin_seeds())), list(read_examples(builtin_heldout()))
    assert len(seeds) > 100
    assert len(held_out) >= 60
    assert all(row.meta["category"] for row in seeds)
    assert sum("check" in row.meta for row in held_out) >= 50
    assert len({row.id for row in seeds + held_out}) == len(seeds) + len(held_out)


@pytest.mark.skipif(
    not SHARED,
    reason="set WOOLGATHER_SHARED_DATA to a folder with self_instruct_seed_tasks.jsonl and "
    "ifeval_input_data.jsonl: public data that is read where it lies, and not shipped",
)
def test_self_instructs_own_seeds():
    rows = list(read_examples(Path(SHARED) / "self_instruct_seed_tasks.jsonl"))
    assert len(rows) == 175
    assert rows[0].id == "seed_task_0"
    assert sum(row.meta.get("category") == "classification" for row in rows) == 26
    assert sum(not row.input for row in rows) == 50
    prompts = read_examples(Path(SHARED) / "ifeval_input_data.jsonl", needs_response=False)
    assert sum(1 for _ in prompts) == 541
