"""What may make a model better than its few-shot base, each as options of I-SHEEP on the fake engine."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from dry import Dry, steps

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError, InputError
from woolgather.core.fingerprint import seed_of
from woolgather.core.rows import Example, question
from woolgather.core.storage import read_rows
from woolgather.engines.base import Sampling
from woolgather.engines.fake import FakeEngine, make_text
from woolgather.probes import generate, task_of
from woolgather.recipes import isheep

ONE = ["base=fake", "iterations=1", "per_iteration=6", "measure.probes=55", "measure.calibration=0"]
AGREE = [
    "practice.tasks=17", "respond.samples=6", "respond.redrawn=3", "agreement={}",
    "mix.one_per_prompt=false",
]  # fmt: skip
DRY = Dry(isheep, ONE)
KNOWN = {
    question(task_of(probe)): probe.reference
    for probe in generate(17, seed_of("iter0/practice", 0), "train")
}


def half_right(model: Model, *_: object) -> FakeEngine:
    """An engine that gives the right answer to a task for practice in about half of its samples."""

    def answer(prompt: str, sampling: Sampling) -> str:
        right = next((said for asked, said in KNOWN.items() if asked in prompt), None)
        return right if right and sampling.seed % 2 else make_text(prompt, sampling)

    return FakeEngine(answer=answer, model=model)


def rows_of(folder: Path, step: str) -> list[Example]:
    return [row for row in read_rows(steps(folder)[step][0]) if isinstance(row, Example)]


def test_right_samples_of_checked_tasks_are_trained_on_beside_a_control_of_the_same_tasks(
    tmp_path: Path,
) -> None:
    folder = DRY.finished(tmp_path / "run", *AGREE, engine=half_right)
    kept = rows_of(folder, "iter0/keep")
    checked = [row for row in kept if "check" in row.meta]
    right = [row for row in checked if not row.set_aside]
    assert len({row.meta["prompt_id"] for row in right}) > 10
    assert all(0 < float(str(row.meta["agreed"])) < 0.9 for row in right)
    assert all(row.response in KNOWN[question(row)] for row in right)
    drawn = rows_of(folder, "control/random0")
    tasks = Counter(row.meta["prompt_id"] for row in kept if not row.set_aside)
    assert Counter(row.meta["prompt_id"] for row in drawn) == tasks
    assert "iter0/audition" not in steps(folder)
    assert steps(folder)["iter0/assess"][1].calls.get("requests", 0) == 0
    trained = {row.response for row in rows_of(folder, "iter0/mix")}
    assert {row.response for row in right} <= trained


def test_nothing_of_it_is_asked_for_by_default(tmp_path: Path) -> None:
    plan = DRY.planned(tmp_path / "run")
    assert not {"shot-pool", "iter0/practice"} & set(plan)
    plan = DRY.planned(tmp_path / "run", *AGREE)
    assert {"shot-pool", "iter0/practice"} <= set(plan)
    assert "iter0/audition" not in plan


def test_practice_may_begin_once_a_model_is_tuned(tmp_path: Path) -> None:
    late = [*AGREE, "iterations=3", "patience=3", "practice.tasks=[0, 17, 20]"]
    plan = DRY.planned(tmp_path / "run", *late)
    assert {name for name in plan if name.endswith("/practice")} == {
        "iter1/practice", "iter2/practice",
    }  # fmt: skip
    folder = DRY.finished(tmp_path / "run", *late, "controls=false", engine=half_right)
    added = [sum("check" in r.meta for r in rows_of(folder, f"iter{t}/respond")) for t in range(3)]
    assert added == [0, 17 * 6, 20 * 6]
    with pytest.raises(ConfigError, match="pairs without tasks"):
        DRY.built("practice.tasks=[0, 0]", "pairs={}")


def test_one_sample_agrees_with_none() -> None:
    with pytest.raises(ConfigError, match=r"1 samples of each task.*such as respond\.samples=8"):
        DRY.built("agreement={}")


VERIFY = ["respond.samples=6", "verify={}", "keep.by=all", "judge.assessor=none"]


def chatty(model: Model, *_: object) -> FakeEngine:
    """An engine whose samples of one task differ in form."""
    forms = (
        "Well, it depends (mostly) on {}; some say so... and some do not!",
        "All of {} needs a good deal of time, care, luck and money.",
        "Slowly and rather patiently {} comes about when one lets it be: always.",
        "It took 3 people, twice, to bring {} to where it is now - and it's good.",
    )

    def answer(prompt: str, sampling: Sampling) -> str:
        said = make_text(prompt, sampling)
        if "answer" not in prompt and len(said.split()) < 3:
            return said
        return forms[sampling.seed % 4].format(" ".join(said.split()[:3]))

    return FakeEngine(answer=answer, model=model)


def test_verified_rows_are_trained_on_beside_a_control_without_a_loop(tmp_path: Path) -> None:
    folder = DRY.finished(tmp_path / "run", *VERIFY, engine=chatty)
    rows = [row for row in rows_of(folder, "iter0/verify") if not row.set_aside]
    assert len(rows) >= 4
    assert len(rows) % 2 == 0
    answers = {row.id for row in rows_of(folder, "iter0/rules")}
    assert all(set(row.parents) <= answers and row.parents for row in rows)
    trained = rows_of(folder, "iter0/mix")
    origins = Counter(row.meta.get("origin", "machine") for row in trained if not row.set_aside)
    assert origins["verified"] > 0
    control = rows_of(folder, "control/verified-mix")
    assert {row.meta.get("origin", "machine") for row in control if not row.set_aside} == {
        "seed",
        "verified",
    }
    controls = {
        "control/seeds-verified-no-loop-measure",
        "control/random-rows-none-verified-measure",
    }
    assert controls <= set(steps(folder))
    plan = DRY.planned(tmp_path / "run", *VERIFY, engine=chatty)
    assert {state for state, _ in plan.values()} == {"remembered"}
    plan = DRY.planned(tmp_path / "run", *VERIFY, "verify.chance=0.1", engine=chatty)
    assert plan["iter0/verify"][0] == "new"
    assert plan["iter0/rules"][0] == "remembered"


def test_a_file_of_checks_that_is_edited_makes_its_rows_anew(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    head = "from woolgather.ops.curate.constraints import check\n"
    file.write_text(
        head + '@check("Say it {}.", ["so", "not so"])\ndef said(t, v): return v in t\n'
    )
    own = [*VERIFY, f"verify.checks={file}", "verify.paraphrases=2", "controls=false"]
    folder = DRY.finished(tmp_path / "run", *own, engine=chatty)
    assert {"iter0/reword", "iter0/verify"} <= set(steps(folder))
    file.write_text(file.read_text() + "# edited\n")
    plan = DRY.planned(tmp_path / "run", *own, engine=chatty)
    assert plan["iter0/verify"][0] == plan["iter0/reword"][0] == "new"
    file.write_text("x = 1\n")
    with pytest.raises(InputError, match=r"mine\.py: no check in it"):
        DRY.built(*own)


def test_too_few_samples_are_refused_and_pairs_without_checks() -> None:
    with pytest.raises(ConfigError, match=r"verify with 1 samples of each task"):
        DRY.built("verify={}")
    with pytest.raises(ConfigError, match=r"pairs without tasks.*verify=\{\}"):
        DRY.built("pairs={}")


PAIRS = [*VERIFY, "pairs.samples=8", "pairs.prompts=40", "controls=false"]


def test_pairs_that_a_check_decides_give_one_more_candidate(tmp_path: Path) -> None:
    more = ["verify.answers=6", "verify.chance=0.4", "pairs.ratio=[0.1,10]"]
    own = [*PAIRS, "per_iteration=20", *more]
    folder = DRY.finished(tmp_path / "run", *own, engine=chatty)
    found = steps(folder)
    merged = {f"pairs/merge-{scale}" for scale in ("0.5", "0.75", "1")}
    assert merged | {"pairs/scale", "pairs/measure", "pairs/contamination"} <= set(found)
    config = found["pairs/train"][1].payload["args"]["config"]
    assert (config["learning_rate"], config["nll_weight"], config["stop_fall"]) == (1e-5, 1.0, 0.1)
    trained = found["pairs/train"][1].inputs
    assert {each["step"] for each in trained.values()} == {"pairs/pairs", "iter0/train-merge"}
    plan = DRY.planned(tmp_path / "run", *own, engine=chatty)
    assert {state for state, _ in plan.values()} == {"remembered"}
    plan = DRY.planned(tmp_path / "run", *own, "pairs.ratio=[0.2,5]", engine=chatty)
    assert plan["pairs/respond"][0] == "remembered"
    assert plan["pairs/pairs"][0] == "new"


def test_setting_one_field_of_a_group_that_is_off_leaves_the_others() -> None:
    own = ["respond.samples=4", "verify.reword.sampling.max_tokens=9", "pairs.dpo.lora.r=8"]
    cfg = DRY.built(*own)
    assert (cfg.verify.reword.sampling.max_tokens, cfg.verify.reword.sampling.temperature) == (
        9,
        0.8,
    )
    dpo = cfg.pairs.dpo
    assert (dpo.lora.r, dpo.lora.alpha, dpo.nll_weight, dpo.stop_fall) == (8, 64.0, 1.0, 0.1)
    with pytest.raises(ConfigError, match="patience: Input should be a valid integer"):
        DRY.built("patience={a: 1}")


def test_too_few_pairs_train_nothing_and_the_run_goes_on(tmp_path: Path) -> None:
    folder = DRY.finished(tmp_path / "run", *PAIRS, "pairs.prompts=4", engine=chatty)
    found = set(steps(folder))
    assert {"pairs/pairs", "result"} <= found
    assert "pairs/train" not in found
