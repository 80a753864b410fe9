"""Holds the shipped seed tasks to what demos, auditions and training rely on.

The idea: quality that can be checked is checked here (shape, variety, lengths, runnable answers);
whether an answer is well written is left to the reader.
"""

import json
import re
import sqlite3
from collections import Counter
from importlib.resources import files
from itertools import combinations
from typing import Any

import pytest
from rapidfuzz.distance import LCSseq

FIELDS = {"id", "category", "instruction", "input", "response"}
MEDIA = re.compile(
    r"\b(images?|graphs?|pictures?|files?|maps?|mapped|mapping|draw|draws|drawn|drawing|drawings"
    r"|drew|plots?|plotted|plotting|videos?|audio|music|flowcharts?|diagrams?|go to)\b",
    re.IGNORECASE,
)
URL = re.compile(r"https?:|www\.|\b[\w-]+\.(com|org|net)\b", re.IGNORECASE)


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def load() -> list[dict[str, str]]:
    text = files("woolgather").joinpath("seeds/seeds.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


SEEDS = load()


def rouge_l(a: list[str], b: list[str]) -> float:
    return 2 * LCSseq.similarity(a, b) / (len(a) + len(b))


def find(start: str) -> dict[str, str]:
    (seed,) = [s for s in SEEDS if s["instruction"].startswith(start)]
    return seed


def code_in(text: str) -> str:
    block = re.search(r"```\w*\n(.*?)```", text, re.DOTALL)
    assert block is not None, text
    return block[1]


def run_python(start: str, **names: Any) -> dict[str, Any]:
    exec(code_in(find(start)["response"]), names)
    return names


def test_rows_have_the_documented_shape() -> None:
    assert len(SEEDS) >= 170
    assert [s["id"] for s in SEEDS] == [f"seed-{n:03d}" for n in range(1, len(SEEDS) + 1)]
    for seed in SEEDS:
        assert set(seed) == FIELDS, seed
        assert all(isinstance(value, str) for value in seed.values()), seed
        assert all(value == value.strip() for key, value in seed.items() if key != "input"), seed
        assert all(seed[key] for key in FIELDS - {"input"}), seed
        assert seed["input"] == "" or seed["input"].strip(), seed


def test_categories_are_many_and_well_filled() -> None:
    counts = Counter(s["category"] for s in SEEDS)
    assert len(counts) >= 12
    assert min(counts.values()) >= 8, counts


def test_any_stretch_of_the_file_is_mixed() -> None:
    for start in range(len(SEEDS) - 12):
        stretch = SEEDS[start : start + 13]
        assert len({s["category"] for s in stretch}) >= 7, stretch[0]["id"]
        assert 1 <= sum(bool(s["input"]) for s in stretch) <= 12, stretch[0]["id"]


def test_instructions_share_no_frame() -> None:
    split = [(s["instruction"], words(s["instruction"])) for s in SEEDS]
    close = [(a, b) for (a, x), (b, y) in combinations(split, 2) if rouge_l(x, y) >= 0.5]
    assert close == []
    openings = Counter(tuple(tokens[:3]) for _, tokens in split)
    assert [o for o, n in openings.items() if n > 1] == []


@pytest.mark.parametrize("seed", SEEDS, ids=lambda s: s["id"])
def test_each_seed_keeps_the_rules(seed: dict[str, str]) -> None:
    instruction, given, response = seed["instruction"], seed["input"], seed["response"]
    assert re.match(r"[A-Za-z]", instruction)
    assert 4 <= len(words(instruction)) <= 60
    assert len(words(given)) <= 110
    assert 1 <= len(words(response)) <= 150
    for text in (instruction, given, response):
        assert not MEDIA.search(text)
        assert not URL.search(text)
    assert not re.match(r"(sure|certainly|of course|as an ai)\b", response, re.IGNORECASE)
    assert response.lower() != given.lower()
    # a label may be chosen from those the instruction offers; more than that would be an echo
    assert len(words(response)) <= 3 or response.lower() not in instruction.lower()
    assert not given or given.lower() not in instruction.lower()
    # what rules for model output commonly take for a leaked prompt or a quiz
    assert not re.search(
        r"^\s*(assistant|human|user|question|output|input|instruction|response)\s*:|^[A-E]\.\s",
        f"{given}\n{response}",
        re.IGNORECASE | re.MULTILINE,
    )


def test_about_half_have_an_input() -> None:
    assert 0.35 <= sum(bool(s["input"]) for s in SEEDS) / len(SEEDS) <= 0.65


def test_response_lengths_are_spread() -> None:
    lengths = [len(words(s["response"])) for s in SEEDS]
    assert sum(20 <= n <= 120 for n in lengths) >= 60
    assert 0.2 <= sum(n <= 15 for n in lengths) / len(lengths) <= 0.35
    assert sum(n > 80 for n in lengths) >= 15


def test_no_long_response_or_input_appears_twice() -> None:
    for field in ("response", "input"):
        counts = Counter(tuple(words(s[field])) for s in SEEDS if len(words(s[field])) > 3)
        assert [t for t, n in counts.items() if n > 1] == []


def test_python_answers_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_python("Write a Python function that returns the vowels")["vowels"]("Umbrella") == (
        "Uea"
    )
    average = run_python("Fix the bug")["average"]
    assert average([]) is None
    assert average([1, 2]) == 1.5
    same = run_python("Implement a check in Python")["are_anagrams"]
    assert same("Dirty room", "dormitory")
    assert not same("aa", "a")
    swapped = run_python("Show how to swap", a=1, b=2)
    assert (swapped["a"], swapped["b"]) == (2, 1)
    run_python("Translate the pseudocode")["countdown"](2)
    assert capsys.readouterr().out == "2\n1\nlift-off\n"


def test_python_inputs_do_what_their_answers_say(capsys: pytest.CaptureFixture[str]) -> None:
    loop = find("Make this loop shorter")
    before: dict[str, Any] = {"names": [" ana b", "", "bo"]}
    after: dict[str, Any] = {"names": [" ana b", "", "bo"]}
    exec(code_in(loop["input"]), before)
    exec(code_in(loop["response"]), after)
    assert before["result"] == after["result"] == ["Ana B", "Bo"]
    snippet = find("What does this snippet print")
    exec(code_in(snippet["input"]), {})
    assert f"prints {capsys.readouterr().out.strip()}." in snippet["response"]


def test_the_time_pattern_matches_exactly_the_minutes_of_a_day() -> None:
    quoted = re.search(r"`(.*?)`", find("A regular expression is needed")["response"])
    assert quoted is not None
    times = [f"{h:02d}:{m:02d}" for h in range(100) for m in range(100)]
    matched = [t for t in times if re.match(quoted[1], t)]
    assert matched == [f"{h:02d}:{m:02d}" for h in range(24) for m in range(60)]


def test_the_query_answer_runs() -> None:
    with sqlite3.connect(":memory:") as db:
        db.execute("create table customers(id, name)")
        db.execute("create table orders(id, customer_id, placed_on)")
        db.executemany("insert into customers values(?, ?)", [(1, "a"), (2, "b"), (3, "c")])
        for customer, orders in ((1, 4), (2, 3), (3, 6)):
            db.executemany("insert into orders values(0, ?, '')", [(customer,)] * orders)
        rows = db.execute(code_in(find("Give me an SQL query")["response"])).fetchall()
    assert rows == [(3, "c", 6), (1, "a", 4)]


def test_json_answers_parse() -> None:
    details = json.loads(find("Return the caller's details")["response"])
    assert list(details) == ["name", "phone", "reason"]


def test_written_sums_are_right() -> None:
    """In every "a = b", "a = b = c" of plain numbers, all sides are worth the same."""
    term = r"\d[\d,]*(?:\.\d+)?"
    side = rf"{term}(?: [+×−÷] {term})*"
    # not from the middle of an equation with a letter in it, such as 3x − 7 = 11
    equations = re.compile(rf"(?<![\d.,])(?<![+×−÷=] ){side}(?: = {side})+")
    checked = 0
    for seed in SEEDS:
        if seed["category"] not in {"arithmetic", "reasoning", "explanation"}:
            continue
        for equation in equations.findall(seed["response"]):
            sides = equation.translate(str.maketrans("×−÷", "*-/", ",")).split(" = ")
            values = [eval(s.strip()) for s in sides]
            assert values == pytest.approx([values[0]] * len(values)), (seed["id"], equation)
            checked += 1
    assert checked >= 12
