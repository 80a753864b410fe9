"""What is finished is not asked again, whatever ended the run before; a harness that fails is told."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from woolgather.core.errors import ConfigError, InputError, RunDirError, WorkError
from woolgather.suites.backends import Backend
from woolgather.suites.interpreter import find_harness
from woolgather.suites.run import Contender, Measured, SuiteOptions, choose_tasks, run_suite
from woolgather.suites.suite import read_suite

from .conftest import TOY, FakeHarness


@pytest.fixture
def asked(tmp_path: Path) -> SuiteOptions:
    return SuiteOptions(tmp_path / "out")


def model(name: str, chat: bool = True) -> Contender:
    backend = Backend("hf", {"pretrained": name}, "auto", f"identity of {name}", chat)
    return Contender(name, f"/models/{name}", backend)


def run(fake: FakeHarness, asked: SuiteOptions, *models: Contender) -> list[Measured]:
    harness = find_harness(fake.python)
    return run_suite(read_suite(str(TOY)), models or (model("base"),), harness, asked, str)


def test_a_suite_is_asked_offline_with_its_data_and_kept(
    fake_harness: FakeHarness, asked: SuiteOptions
) -> None:
    (measured,) = run(fake_harness, asked)
    assert measured.outcomes["toy_opposites"].value == pytest.approx(1 / 3)
    assert measured.outcomes["toy_opposites"].chance == pytest.approx(1 / 3)
    assert measured.outcomes["toy_echo"].items["toy_echo/2"] == 1.0
    assert measured.in_turns == {"toy_echo"}
    (job,) = fake_harness.jobs
    assert job["offline"] == "1"
    assert job["chat"] == [False, True]
    assert {"echo.jsonl", "opposites.jsonl"} <= set(job["data"])  # type: ignore[call-overload]
    (record,) = asked.out.glob("base-*/toy_echo-*/record.json")
    told = json.loads(record.read_text())
    assert told["harness"]["versions"]["lm_eval"] == "0.4.13"
    assert told["harness"]["task_hashes"] == {"toy_echo": "abc"}
    assert all((record.parent / name).is_file() for name in told["files"])
    assert run(fake_harness, asked) == [measured]
    assert len(fake_harness.jobs) == 1


def test_data_that_change_meanwhile_do_not_lose_what_was_asked(
    fake_harness: FakeHarness, asked: SuiteOptions, tmp_path: Path
) -> None:
    shutil.copytree(TOY.parent, tmp_path / "toy")

    def change(line: str) -> None:
        (tmp_path / "toy" / "notes.txt").write_text(line)

    harness, suite = find_harness(fake_harness.python), read_suite(str(tmp_path / "toy" / TOY.name))
    (measured,) = run_suite(suite, [model("base")], harness, asked, change)
    assert len(measured.outcomes) == 2
    run_suite(suite, [model("base")], harness, asked, change)
    assert len(fake_harness.jobs) == 2, "to data that have changed it is another question"


def test_after_a_death_only_the_rest_is_asked(
    fake_harness: FakeHarness, asked: SuiteOptions
) -> None:
    fake_harness.will(dies_after=1)
    with pytest.raises(WorkError, match=r"ended early.*out of luck.*the same command goes on"):
        run(fake_harness, asked)
    fake_harness.will(dies_after=0, signal=9)
    with pytest.raises(WorkError, match=r"ended early \(killed by signal 9\)"):
        run(fake_harness, asked)
    fake_harness.will(dies_after=None)
    (measured,) = run(fake_harness, asked)
    assert len(measured.outcomes) == 2
    assert [job["tasks"] for job in fake_harness.jobs] == [
        ["toy_opposites", "toy_echo"],
        ["toy_echo"],
        ["toy_echo"],
    ]


def test_another_limit_form_model_or_harness_is_another_question(
    fake_harness: FakeHarness, asked: SuiteOptions
) -> None:
    run(fake_harness, asked)
    for other in (replace(asked, limit=2), replace(asked, form="raw"), replace(asked, form="chat")):
        run(fake_harness, other)
    run(fake_harness, asked, model("other"))
    run(fake_harness, asked, model("base", chat=False))
    both = ["toy_opposites", "toy_echo"]
    assert [job["tasks"] for job in fake_harness.jobs] == [
        both,
        both,
        ["toy_echo"],  # what was asked in turns
        ["toy_opposites"],  # and what was not
        both,
    ]
    assert fake_harness.jobs[1]["limit"] == 2


def test_a_record_of_before_gets_its_bits_from_the_samples(
    fake_harness: FakeHarness, asked: SuiteOptions
) -> None:
    (first,) = run(fake_harness, asked)
    bits = first.outcomes["toy_opposites"].bits
    assert bits == pytest.approx(dict.fromkeys(first.outcomes["toy_opposites"].items, 4 / 4))
    (place,) = asked.out.glob("base-*/toy_opposites-*/record.json")
    told = json.loads(place.read_text())
    told["format"] = 1
    del told["outcomes"]["toy_opposites"]["bits"]
    place.write_text(json.dumps(told))
    assert run(fake_harness, asked) == [first]
    for sample in place.parent.rglob("samples_*.jsonl"):
        sample.unlink()
    (left,) = run(fake_harness, asked)
    assert not left.outcomes["toy_opposites"].bits
    assert len(fake_harness.jobs) == 1


def test_the_same_model_under_another_name_is_known(
    fake_harness: FakeHarness, asked: SuiteOptions
) -> None:
    run(fake_harness, asked)
    run(fake_harness, asked, replace(model("base"), name="runs/mine/base"))
    assert len(fake_harness.jobs) == 1


def test_problems_with_tasks_are_all_said_before_anything_is_asked(
    fake_harness: FakeHarness, asked: SuiteOptions
) -> None:
    problems = [
        {"task": "toy_ecko", "kind": "unknown", "near": ["toy_echo"]},
        {
            "task": "ifeval",
            "kind": "LookupError",
            "why": "Resource punkt_tab not found; nltk.download",
        },
        {"task": "other", "kind": "ModuleNotFoundError", "why": "No module named 'langdetect'"},
        {"task": "sums", "kind": "FileNotFoundError", "why": "no sums.jsonl"},
        {"task": "split", "kind": "KeyError", "why": "'train'"},
        {"task": "code", "kind": "code"},
    ]
    fake_harness.will(problems=problems)
    with pytest.raises(InputError) as caught:
        run(fake_harness, asked)
    said = str(caught.value)
    assert said.startswith("Nothing was run.")
    for part in (
        "The nearest names are toy_echo.",
        "python -m nltk.downloader punkt_tab -d DIR/nltk_data",
        "langdetect'. Install what is missing",
        "sums: its data cannot be read (FileNotFoundError: no sums.jsonl)",
        "split: its data have no 'train'",
        "--allow-code",
    ):
        assert part in said


def test_code_of_a_model_is_not_run_unasked(asked: SuiteOptions) -> None:
    suite = read_suite("isheep")
    assert {t.task for t in suite.tasks} - {t.task for t in choose_tasks(suite, asked)} == {
        "humaneval",
        "mbpp",
    }
    assert choose_tasks(suite, replace(asked, allow_code=True)) == suite.tasks
    only = suite.model_copy(update={"tasks": tuple(t for t in suite.tasks if t.code)})
    with pytest.raises(ConfigError, match="Add --allow-code"):
        choose_tasks(only, asked)


def test_turns_need_a_chat_template(fake_harness: FakeHarness, asked: SuiteOptions) -> None:
    with pytest.raises(ConfigError, match="plain has no chat template"):
        run(fake_harness, replace(asked, form="chat"), model("base"), model("plain", chat=False))


def test_a_directory_in_use_and_a_broken_record_are_told(
    fake_harness: FakeHarness, asked: SuiteOptions
) -> None:
    asked.out.mkdir()
    with FileLock(asked.out / "lock"), pytest.raises(RunDirError, match="in use by another"):
        run(fake_harness, asked)
    run(fake_harness, asked)
    (record,) = asked.out.glob("base-*/toy_echo-*/record.json")
    record.write_text("{")
    with pytest.raises(RunDirError, match="is broken"):
        run(fake_harness, asked)
