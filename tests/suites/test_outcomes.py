"""The harness's files, read as outcomes by item."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.errors import WorkError
from woolgather.suites.outcomes import family_of, read_result
from woolgather.suites.suite import Measure, SuiteTask


def write(folder: Path, results: dict[str, Any], samples: dict[str, list[dict[str, Any]]]) -> None:
    inner = folder / "model"
    inner.mkdir(parents=True)
    (inner / "results_T1.json").write_text(json.dumps(results))
    for name, rows in samples.items():
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (inner / f"samples_{name}_T1.jsonl").write_text(lines)


def sample(doc: int, choices: int = 1, filter_: str = "none", **values: object) -> dict[str, Any]:
    arguments: dict[str, Any] = {f"gen_args_{i}": {} for i in range(choices)}
    return {"doc_id": doc, "filter": filter_, "arguments": arguments, **values}


def test_a_group_has_the_items_of_its_tasks_and_chance_by_their_choices(tmp_path: Path) -> None:
    kind = {"output_type": "multiple_choice"}
    results = {
        "results": {"group_a": {"acc,none": 1.0}, "group_b": {"acc,none": 0.5}},
        "groups": {"group": {"acc,none": 2 / 3, "acc_stderr,none": 0.3}},
        "configs": {"group_a": kind, "group_b": kind},
        "task_hashes": {"group_a": "x"},
    }
    rows = {
        "group_a": [sample(0, 2, acc=1.0)],
        "group_b": [sample(0, 4, acc=1), sample(1, 4, acc=0.0)],
    }
    write(tmp_path, results, rows)
    found = read_result(tmp_path, SuiteTask(task="group", measures=(Measure(metric="acc"),)))
    outcome = found.outcomes["group"]
    assert outcome.value == pytest.approx(2 / 3)
    assert outcome.items == {"group_a/0": 1.0, "group_b/0": 1.0, "group_b/1": 0.0}
    assert outcome.chance == pytest.approx((1 / 2 + 1 / 4 + 1 / 4) / 3)
    assert found.hashes == {"group_a": "x"}
    assert len(found.files) == 3


def test_several_checks_of_a_document_are_items_of_one_family(tmp_path: Path) -> None:
    results = {
        "results": {
            "ifeval": {"inst_level_strict_acc,none": 0.5, "prompt_level_strict_acc,none": 0}
        },
        "configs": {"ifeval": {"output_type": "generate_until"}},
    }
    rows = [sample(0, inst_level_strict_acc=[True, False], prompt_level_strict_acc=False)]
    write(tmp_path, results, {"ifeval": rows})
    measures = (
        Measure(metric="prompt_level_strict_acc", title="prompt"),
        Measure(metric="inst_level_strict_acc", title="instruction"),
    )
    found = read_result(tmp_path, SuiteTask(task="ifeval", measures=measures)).outcomes
    assert found["ifeval/prompt"].items == {"ifeval/0": 0.0}
    assert found["ifeval/instruction"].items == {"ifeval/0#0": 1.0, "ifeval/0#1": 0.0}
    assert {family_of(item) for item in found["ifeval/instruction"].items} == {"ifeval/0"}
    assert found["ifeval/prompt"].chance is None


def test_only_the_filter_that_is_asked_for_counts(tmp_path: Path) -> None:
    results = {
        "results": {
            "gsm8k": {"exact_match,strict-match": 0.0, "exact_match,flexible-extract": 1.0}
        },
        "configs": {"gsm8k": {"output_type": "generate_until"}},
    }
    rows = [
        sample(0, filter_="strict-match", exact_match=0.0),
        sample(0, filter_="flexible-extract", exact_match=1.0),
    ]
    write(tmp_path, results, {"gsm8k": rows})
    measure = Measure(metric="exact_match", filter="strict-match")
    found = read_result(tmp_path, SuiteTask(task="gsm8k", measures=(measure,)))
    assert found.outcomes["gsm8k"].items == {"gsm8k/0": 0.0}
    wrong = SuiteTask(task="gsm8k", measures=(Measure(metric="exact_match"),))
    with pytest.raises(WorkError, match="exact_match,strict-match, exact_match,flexible-extract"):
        read_result(tmp_path, wrong)


def answered(doc: int, target: str, nats: dict[str, float], **values: object) -> dict[str, Any]:
    """A sample of choices as the harness logs it: answers, and the log-likelihood of each as text."""
    return {
        **sample(doc, acc=0.0, **values),
        "target": target,
        "arguments": {
            f"gen_args_{n}": {"arg_0": "Q:", "arg_1": answer} for n, answer in enumerate(nats)
        },
        "filtered_resps": [[str(-loss), "False"] for loss in nats.values()],
    }


def test_bits_per_byte_are_those_of_the_right_answer(tmp_path: Path) -> None:
    two = 2 * math.log(2)
    rows = [
        answered(0, "1", {" no": 9.0, " yes": two}),  # by its index: 2 bits, 4 bytes
        answered(1, "é", {" é": two, " b": 9.0}),  # by its text; é has two bytes
        answered(2, "A", {" é": two, " b": 9.0}),  # not among them
        answered(3, "[0, 1]", {" é": two, " b": 9.0}),  # two right ones
        answered(4, "7", {" é": two, " b": 9.0}),
    ]
    one_ending = answered(5, "he won", {" he won": 1.0})
    one_ending["arguments"]["gen_args_1"] = one_ending["arguments"]["gen_args_0"]
    results = {
        "results": {"t": {"acc,none": 0.0}},
        "configs": {"t": {"output_type": "multiple_choice"}},
    }
    write(tmp_path, results, {"t": [*rows, one_ending]})
    found = read_result(tmp_path, SuiteTask(task="t", measures=(Measure(metric="acc"),)))
    assert found.outcomes["t"].bits == pytest.approx({"t/0": 2 / 4, "t/1": 2 / 3})
    assert len(found.outcomes["t"].items) == 6


def test_no_results_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(WorkError, match="wrote no results"):
        read_result(tmp_path, SuiteTask(task="a", measures=(Measure(metric="acc"),)))
