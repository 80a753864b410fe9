"""The harness itself, on a tiny random model: a toy suite offline, broken off and resumed.

`WORKER` is also held to its promise that it never outlives who started it, which needs no harness.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import mean
from types import SimpleNamespace
from typing import Any

import pytest

from woolgather.api.suites import evaluate_suite
from woolgather.core.errors import InputError
from woolgather.engines.base import EngineOptions
from woolgather.suites import worker as worker_module
from woolgather.suites.process import WORKER
from woolgather.suites.run import SuiteOptions

from .conftest import TOY

needs_harness = pytest.mark.skipif(
    importlib.util.find_spec("lm_eval") is None,
    reason="lm-evaluation-harness is not installed (the extra `eval`)",
)
ON_CPU = EngineOptions("transformers", dtype="float32")


worker: Any = worker_module  # whose functions take the harness's own classes


class BrokenOff(Exception):
    """What stands for a power cut."""


def test_the_worker_ends_with_its_parent(tmp_path: Path) -> None:
    job = tmp_path / "job.json"
    os.mkfifo(job)  # which nobody ever writes to
    worker = subprocess.Popen(
        [sys.executable, "-P", str(WORKER), str(job)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert worker.stdin is not None
    worker.stdin.close()
    assert worker.wait(120) == 70


def test_answers_are_cut_but_never_longer_than_a_task_allows() -> None:
    class Task:
        OUTPUT_TYPE = "generate_until"

        def __init__(self, **asked: object) -> None:
            self.config = SimpleNamespace(generation_kwargs=asked)

        def set_config(self, key: str, value: dict[str, object]) -> None:
            setattr(self.config, key, value)

    long, short, silent = Task(max_gen_toks=1280, until=["."]), Task(max_new_tokens=8), Task()
    worker._cut_answers([long, short, silent], 300)
    assert long.config.generation_kwargs == {"max_gen_toks": 300, "until": ["."]}
    assert short.config.generation_kwargs == {"max_gen_toks": 8}
    assert silent.config.generation_kwargs == {"max_gen_toks": 256}


def test_long_texts_of_a_large_model_are_written_few_at_once() -> None:
    def model(layers: int) -> SimpleNamespace:
        told = SimpleNamespace(
            num_hidden_layers=layers,
            num_attention_heads=8,
            num_key_value_heads=8,
            hidden_size=1024,
        )
        config = SimpleNamespace(get_text_config=lambda: told)
        dtype = SimpleNamespace(itemsize=4)
        return SimpleNamespace(model=SimpleNamespace(config=config, dtype=dtype), max_length=2048)

    silent = SimpleNamespace(config=SimpleNamespace(generation_kwargs=None))
    assert worker._count_written(model(1), [silent]) == worker.WRITTEN[1]
    assert worker._count_written(model(100_000), [silent]) == worker.WRITTEN[0]


@needs_harness
def test_a_toy_suite_broken_off_and_resumed(tiny_model: Path, tmp_path: Path) -> None:
    lines: list[str] = []

    def break_off(line: str) -> None:
        lines.append(line)
        if "Opposites done" in line:
            raise BrokenOff

    asked = SuiteOptions(tmp_path, max_tokens=3)
    with pytest.raises(BrokenOff):
        evaluate_suite([str(tiny_model)], str(TOY), ON_CPU, asked, tell=break_off)
    result = evaluate_suite([str(tiny_model)], str(TOY), ON_CPU, asked, tell=lines.append)
    assert "2 tasks to ask, 0 kept" in lines[0]
    again = next(line for line in lines[2:] if "to ask" in line)
    assert "1 tasks to ask, 1 kept" in again
    (measured,) = result.measured
    for key, outcomes in measured.outcomes.items():
        assert mean(outcomes.items.values()) == pytest.approx(outcomes.value)
        (record,) = tmp_path.glob(f"toy/*/{key}-*/record.json")
        told = json.loads(record.read_text())
        assert told["harness"]["task_hashes"][key]
        theirs = json.loads((record.parent / told["files"][0]).read_text())
        metric = {"toy_opposites": "acc,none", "toy_echo": "exact_match,none"}[key]
        assert theirs["results"][key][metric] == outcomes.value
        assert theirs["n-samples"][key]["effective"] == len(outcomes.items)
        if key == "toy_echo":
            assert theirs["configs"][key]["generation_kwargs"]["max_gen_toks"] == 3
    assert measured.outcomes["toy_opposites"].chance == pytest.approx(1 / 3)
    bits = measured.outcomes["toy_opposites"].bits
    assert bits.keys() == measured.outcomes["toy_opposites"].items.keys()
    assert all(value > 0 for value in bits.values())
    assert not measured.outcomes["toy_echo"].bits


@needs_harness
@pytest.mark.full
def test_an_unknown_task_and_a_task_without_data_are_said_at_once(tmp_path: Path) -> None:
    suite = tmp_path / "own.yaml"
    suite.write_text(
        "tasks:\n"
        "  - {task: hellaswagg, measures: [{metric: acc}]}\n"
        "  - {task: own_task, measures: [{metric: acc}]}\n"
    )
    (tmp_path / "own_task.yaml").write_text(
        "task: own_task\ndataset_path: json\ndataset_kwargs: {data_files: {test: gone.jsonl}}\n"
        "test_split: test\noutput_type: multiple_choice\ndoc_to_text: q\ndoc_to_target: 0\n"
        "doc_to_choice: [a, b]\nmetric_list: [{metric: acc}]\n"
    )
    with pytest.raises(InputError) as caught:
        evaluate_suite(
            ["anything"],
            str(suite),
            EngineOptions("fake"),
            SuiteOptions(tmp_path / "out"),
            tell=str,
        )
    said = str(caught.value)
    assert "The nearest names are hellaswag" in said
    assert "own_task: its data cannot be read" in said
    assert "gone.jsonl" in said


@needs_harness
@pytest.mark.full
def test_our_own_tasks_are_what_the_harness_takes(tmp_path: Path) -> None:
    """Dromedary's suite on made-up data of its shape: a group, choices, and a length."""
    import pyarrow as pa
    from pyarrow import parquet

    data = tmp_path / "data"
    for part in ("harmless", "helpful", "honest", "other"):
        folder = data / "HuggingFaceH4" / "hhh_alignment" / part / "test"
        folder.mkdir(parents=True)
        targets = [{"choices": ["yes", "no"], "labels": [0, 1]}] * 3
        parquet.write_table(
            pa.table({"input": ["Is it so?"] * 3, "targets": targets}), folder / "0000.parquet"
        )
    (data / "vicuna_bench").mkdir()
    (data / "vicuna_bench" / "question.jsonl").write_text(
        "".join(json.dumps({"question_id": i, "turns": [f"Say {i}."]}) + "\n" for i in range(2))
    )
    truthful = data / "truthfulqa" / "truthful_qa"
    truthful.mkdir(parents=True)
    (truthful / "README.md").write_text(
        "---\nconfigs:\n- config_name: multiple_choice\n  data_files:\n"
        "  - {split: validation, path: validation.jsonl}\n---\n"
    )
    (truthful / "validation.jsonl").write_text(
        json.dumps({"question": "Why?", "mc1_targets": {"choices": ["a", "b"], "labels": [1, 0]}})
        + "\n"
    )
    asked = SuiteOptions(tmp_path / "out", data_dir=data)
    result = evaluate_suite(["anything"], "dromedary", EngineOptions("fake"), asked, tell=str)
    found = result.measured[0].outcomes
    assert len(found["hhh"].items) == 12
    assert found["hhh"].chance == 0.5
    assert found["vicuna"].items == {"vicuna/0": 1.0, "vicuna/1": 1.0}
    assert found["truthfulqa_mc1"].chance == 0.5
