"""Questions of our own in the layouts of the benchmarks, and judges that know what they say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from woolgather.core.artifacts import Model
from woolgather.core.rows import question
from woolgather.data import builtin_seeds, read_examples
from woolgather.engines.base import Sampling
from woolgather.engines.fake import FakeEngine

ALPACA = [
    {"dataset": "kitchen", "instruction": f"Name {n} uses of salt.", "output": f"Use {n}.",
     "generator": "cook"}
    for n in range(1, 7)
]  # fmt: skip
TALKS = [
    {"question_id": 1, "category": "math", "turns": ["What is 12 times 11?", "Half of it?"],
     "reference": ["132", "66"]},
    {"question_id": 2, "category": "math", "turns": ["What is 3 times 7?", "Twice that?"]},
    {"question_id": 7, "category": "writing", "turns": ["Name a bakery.", "And a bar."]},
]  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with the questions of all three benchmarks."""
    folder = tmp_path / "data"
    for name in ("mt_bench", "vicuna_bench"):
        (folder / name).mkdir(parents=True)
    (folder / "alpaca_eval.json").write_text(json.dumps(ALPACA))
    save_lines(folder / "mt_bench" / "question.jsonl", TALKS)
    save_lines(
        folder / "vicuna_bench" / "question.jsonl",
        [
            {"question_id": t["question_id"], "category": "any", "turns": t["turns"][:1]}
            for t in TALKS
        ],
    )
    return folder


def save_lines(path: Path, records: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def part(prompt: str, mark: str) -> str:
    """What stands between the marks of that name in a judge's prompt."""
    found = re.search(rf"<{mark}>\n(.*?)\n</{mark}>", prompt, re.DOTALL)
    assert found, prompt
    return found[1]


def knowing(compare: Callable[[str, str], str], grade: Callable[[str], str]) -> FakeEngine:
    """A judge that passes its audition, since it knows the seeds by heart; it compares two answers and
    grades others as the functions say."""
    known = {(question(s), s.response.strip()) for s in read_examples(builtin_seeds())}
    tasks = {task for task, _ in known}

    def answer(prompt: str, sampling: Sampling) -> str:
        asked = part(prompt, "asked")
        if "<answer-1>" in prompt:
            pair = part(prompt, "answer-1"), part(prompt, "answer-2")
            right = "1" if (asked, pair[0]) in known else "2"
            return f"They differ.\nBetter: {right if asked in tasks else compare(*pair)}"
        said = part(prompt, "answer")
        if asked in tasks:
            return f"Known.\nScore: {9 if (asked, said) in known else 2}"
        return grade(said)

    return FakeEngine(answer=answer, model=Model("judge", "served:judge", "chat"))
