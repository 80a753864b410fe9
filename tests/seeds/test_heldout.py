"""Holds the shipped held-out tasks to what measuring with them relies on.

Right answers pass their checks, empty-headed ones do not, and no task is close to another or to a
seed, since a model that is trained on the seeds must not have met them.
"""

import json
import re
from collections import Counter
from importlib.resources import files
from itertools import combinations, product
from pathlib import Path
from typing import Any

from rapidfuzz.distance import LCSseq

from woolgather.probes import NULL_ANSWERS, Probe
from woolgather.probes.checks import passes, validate

MEDIA = re.compile(
    r"\b(images?|graphs?|pictures?|files?|maps?|draw\w*|plots?|videos?|audio|music|go to"
    r"|flowcharts?|diagrams?)\b",
    re.IGNORECASE,
)
URL = re.compile(r"https?:|www\.|\b[\w-]+\.(com|org|net)\b", re.IGNORECASE)


def load(name: str) -> list[dict[str, Any]]:
    text = files("woolgather").joinpath("seeds", name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


TASKS = load("heldout.jsonl")
CHECKED = [task for task in TASKS if task["check"] is not None]


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def rouge_l(a: str, b: str) -> float:
    """ROUGE-L F of two texts, from the longest common subsequence of their words."""
    left, right = words(a), words(b)
    return 2 * LCSseq.similarity(left, right) / (len(left) + len(right))


def test_rows_have_the_documented_shape() -> None:
    assert len(TASKS) == 80
    assert [task["id"] for task in TASKS] == [f"heldout-{k:03d}" for k in range(1, 81)]
    for task in TASKS:
        assert list(task) == ["id", "category", "instruction", "input", "response", "check"]
        assert all(isinstance(task[key], str) for key in list(task)[:5])
        assert task["instruction"][0].isalpha(), task["id"]
        assert 4 <= len(words(task["instruction"])) <= 60, task["id"]
        assert len(words(task["input"])) <= 100, task["id"]
        assert task["response"].strip() == task["response"] != "", task["id"]


def test_kinds_are_those_of_the_seeds_and_balanced() -> None:
    counts = Counter(task["category"] for task in TASKS)
    assert set(counts) == {seed["category"] for seed in load("seeds.jsonl")}
    assert max(counts.values()) - min(counts.values()) <= 1
    assert 25 <= sum(bool(task["input"]) for task in TASKS) <= 55


def test_no_other_media_no_addresses() -> None:
    for task in TASKS:
        text = f"{task['instruction']}\n{task['input']}"
        assert not MEDIA.search(text), task["id"]
        assert not URL.search(text + task["response"]), task["id"]


def test_checks_are_valid_and_references_pass() -> None:
    assert len(CHECKED) >= 60
    for task in CHECKED:
        validate(task["check"])
        assert passes(task["response"], task["check"]), task["id"]


def test_null_answers_and_rambling_fail() -> None:
    for name, answer in NULL_ANSWERS.items():
        answers = ((task, answer(_as_probe(task))) for task in CHECKED)
        passed = [task["id"] for task, said in answers if passes(said, task["check"])]
        assert len(passed) <= 0.06 * len(CHECKED), (name, passed)
    ramble = " And so one could go on, asking and answering, for as long as there are words." * 12
    passed = [task["id"] for task in CHECKED if passes(task["response"] + ramble, task["check"])]
    assert len(passed) <= 2, passed


def test_answers_to_other_tasks_fail() -> None:
    crossed = [
        (task["id"], other["id"])
        for task, other in product(CHECKED, TASKS)
        if task is not other and passes(other["response"], task["check"])
    ]
    assert len(crossed) <= 0.02 * len(CHECKED) * len(TASKS), crossed


def _as_probe(task: dict[str, Any]) -> Probe:
    return Probe(
        id=task["id"],
        family=task["category"],
        instruction=task["instruction"],
        input=task["input"],
        check=task["check"],
        reference=task["response"],
    )


def test_instructions_do_not_share_frames() -> None:
    for a, b in combinations(TASKS, 2):
        assert rouge_l(a["instruction"], b["instruction"]) < 0.5, (a["id"], b["id"])
    openings = Counter(tuple(words(task["instruction"])[:3]) for task in TASKS)
    assert max(openings.values()) == 1, openings.most_common(3)


def test_instructions_are_unlike_the_seeds() -> None:
    for seed, task in product(load("seeds.jsonl"), TASKS):
        near = rouge_l(seed["instruction"], task["instruction"])
        assert near < 0.6, (seed["id"], task["id"], near)


OTHER_WORDS = {
    "Nadia reads": (["It will take her 15 evenings to finish all 270 pages.", "15"], ["14", "5"]),
    "What remains": (["2550 g", "2,550 grams are left."], ["2450 grams", "5,000"]),
    "Halve 3/4": (["4/8, which simplifies to 1/2", "3/8 + 1/8 = 1/2."], ["3/8", "7/8"]),
    "The taxi meter": (["$22.00", "It costs 22 dollars."], ["18", "$66"]),
    "Round 48,762": (["48,762 rounds to 49,000."], ["48,000", "50000"]),
    "Supply a Python": (
        ["`n%15==0`", "(n % 3 == 0) and (n % 5 == 0)"],
        ["n % 3 == 0 or n % 5 == 0"],
    ),
    "Rewrite this Python": (["```python\nif x < 10:\n```", "if 10 > x:"], ["if x > 10:"]),
    "A beginner": (["Add i = i + 1 inside the loop."], ["Put a break before the loop."]),
    "Which words of": (["Bright\nlight\nsight", "bright, light, and sight."], ["bright, light"]),
    "Build a JSON": (['{"year": 1987, "title": "The Salt Road", "author": "Henrike Vos"}'], ["{}"]),
    "All the keys": (["It isn't one of the keys on the red ring."], ["It is on the red ring."]),
    "During a race": (["2nd", "Kirsi is now in second place."], ["First."]),
    "Ulla, Vito": (["Wim: Red\nUlla: Black\nVito: Green"], ["Ulla: black\nVito: red\nWim: green"]),
    "Recite the": (["1. Alpha\n2. Beta\n3. Gamma\n4. Delta\n5. Epsilon\n6. Zeta"], ["alpha beta"]),
    "Count down": (["10,9,8,7,6,5"], ["10, 9, 8, 7, 6", "5, 6, 7, 8, 9, 10"]),
    "Mention two": (["The Danube (Vienna) and the Tiber (Rome)."], ["Danube and Tiber"]),
    "Give the seasons": (["1. Winter\n2. Fall\n3. Summer\n4. Spring"], ["winter, spring, summer"]),
    "Spell out": (["Our shop opens at nine-thirty and closes at eighteen hours."], ["9:30 to six"]),
    "Sequence these": (["B D A C E", "BDACE."], ["A, B, C, D, E"]),
    "At what time": (["4:25 PM"], ["16:45", "16:40"]),
    "Who looks": (["Edda's niece Runa does."], ["Edda", "Her brother."]),
    "What was decided": (
        ["The fair is on the second Saturday in May."],
        ["June", "The fair moves to May."],
    ),
}


def test_other_wordings_pass_and_wrong_answers_fail() -> None:
    for start, (right, wrong) in OTHER_WORDS.items():
        (task,) = [task for task in TASKS if task["instruction"].startswith(start)]
        for response in right:
            assert passes(response, task["check"]), (task["id"], response)
        for response in wrong:
            assert not passes(response, task["check"]), (task["id"], response)


ANSWERS = [
    json.loads(line)
    for line in Path(__file__).with_name("answers.jsonl").read_text(encoding="utf-8").splitlines()
]
"""Right and wrong answers, written and labelled by hand."""


def test_every_checked_task_has_its_answers() -> None:
    counts = Counter((row["task"], row["right"]) for row in ANSWERS)
    assert set(counts) == {(task["id"], right) for task in CHECKED for right in (True, False)}
    assert min(counts.values()) >= 3, counts.most_common()[-5:]


def test_right_answers_pass_and_wrong_ones_fail() -> None:
    checks = {task["id"]: task["check"] for task in CHECKED}
    for right, least in ((True, 0.95), (False, 0.98)):
        rows = [row for row in ANSWERS if row["right"] is right]
        misjudged = [row for row in rows if passes(row["answer"], checks[row["task"]]) is not right]
        for row in misjudged:
            print("right" if right else "wrong", row["task"], repr(row["answer"]))
        assert len(misjudged) <= (1 - least) * len(rows)
