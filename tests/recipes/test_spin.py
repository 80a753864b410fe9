"""SPIN on the fake engine: it ends, an option re-runs the steps it concerns and their dependants,
generation can be handed in, and the opponent is the model that generated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from dry import Dry, steps

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError, InputError
from woolgather.core.rows import PreferencePair, question
from woolgather.core.storage import digest, read_rows
from woolgather.data import builtin_seeds, read_examples, write_rows_as
from woolgather.recipes import config, spin
from woolgather.runs.results import load

BASE = ["base=fake", "iterations=2", "pairs.max_prompts=40", "measure.probes=55"]
ITERATIONS = ("iter0", "iter1")


DRY = Dry(spin, BASE)
built, opened, planned = DRY.built, DRY.opened, DRY.planned
BY_VALUE = {"control/sft-on-the-real-answers": {"iter0/pairs", "iter1/pairs"}}
"""The control gets as many updates."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return DRY.finished(tmp_path_factory.mktemp("spin") / "run")


def stamp(folder: Path, step: str) -> dict[str, Any]:
    path, record = steps(folder)[step]
    text = (path / str(record.result["path"]) / "fake.json").read_text()
    return dict(json.loads(text))


def test_nothing_changed_nothing_to_do(finished: Path) -> None:
    assert {state for state, _ in planned(finished).values()} == {"remembered"}


def each(*names: str) -> set[str]:
    return {f"{it}/{name}" for it in ITERATIONS for name in names}


TRAINED = each("train")
MEASURED = {
    "measure",
    *each("measure"),
    "control/fewshot-measure",
    "control/sft-on-the-real-answers-measure",
}
CASES: list[tuple[str, set[str]]] = [
    ("respond.sampling.temperature=0.7", each("respond")),
    ("respond.sampling.max_tokens=64", {"real", *each("respond")}),
    ("pairs.equal_budgets=false", {"real", *each("pairs")}),
    ("pairs.unfinished=keep", {"real", *each("pairs")}),
    ("pairs.max_prompts=30", {"real", *each("pairs")}),
    ("window=1", {"iter1/train"}),
    ("window=[1, 1]", {"iter1/train"}),
    ("dpo.learning_rate=1e-4", TRAINED),
    ("dpo.learning_rate=[5e-5, 1e-5]", {"iter1/train"}),
    ("dpo.beta=5", TRAINED),
    ("dpo.beta=[0.1, 5.0]", {"iter1/train"}),
    ("dpo.loss=hinge", TRAINED),
    ("dpo.nll_weight=0.2", TRAINED),
    ("dpo.lora=null", TRAINED),
    ("dpo.lora.r=4", TRAINED),
    ("dpo.epochs=3", TRAINED),
    ("dpo.max_updates=3", {*TRAINED, "control/sft-on-the-real-answers"}),
    ("dpo.batch_size=4", TRAINED),
    ("dpo.optimizer=adamw_torch", TRAINED),
    ("dpo.schedule=cosine", TRAINED),
    ("dpo.warmup_updates=0", TRAINED),
    ("dpo.validation=0.1", TRAINED),
    ("dpo.args.label_smoothing=0.1", TRAINED),
    ("dpo.max_length=200", {"real", *each("pairs", "train")}),
    ("dpo.max_prompt_length=100", {"real", *TRAINED}),
    ("dpo.micro_batch_size=2", set()),
    ("dpo.gradient_checkpointing=true", set()),
    ("sft.learning_rate=1e-4", {"control/sft-on-the-real-answers"}),
    ("shots=3", {"control/shots"}),
    ("measure.probes=60", MEASURED),
    ("patience=1", each("stop")),
    ("select_by=heldout", {*each("stop"), "select", "summary"}),
    ("controls=false", {"summary"}),
]


@pytest.mark.parametrize(("override", "own"), CASES, ids=[case[0] for case in CASES])
def test_option_changes_its_steps_and_their_dependants_only(
    finished: Path, override: str, own: set[str]
) -> None:
    DRY.holds(finished, override, own, BY_VALUE)


def test_a_chat_template_is_another_base(finished: Path) -> None:
    plan = planned(finished, "chat_template=spin-instruction")
    made = {"iter0/respond", "iter0/train", "iter1/train", "measure", "control/fewshot-measure"}
    assert made <= {step for step, (state, _) in plan.items() if state == "new"}
    assert {state for state, _ in planned(finished, "chat_template=auto").values()} == {
        "remembered"
    }
    paper, code = (built(preset=preset).chat_template for preset in ("paper", "code"))
    assert (paper.name, code.name) == ("spin-instruction", "auto")


def test_a_change_of_a_schedule_is_explained(finished: Path) -> None:
    plan = planned(finished, "dpo.beta=[0.1, 5.0]")
    assert plan["iter0/train"][0] == "remembered"
    assert plan["iter1/train"] == ("new", "new because args.config.beta: 0.1 -> 5.0")


def test_more_iterations_run_only_new_ones(finished: Path) -> None:
    plan = planned(finished, "iterations=3")
    new = {step for step, (state, _) in plan.items() if state == "new"}
    assert not {s for s in new if s.startswith(ITERATIONS)}
    assert "iter2/train" in new


def test_start_opponent_and_writer_are_one_model(finished: Path) -> None:
    """p_t generates, is where the policy starts, and is the frozen reference: the merged model."""
    found = steps(finished)
    for t, model in ((0, "base"), (1, "iter0/train-merge")):
        _, trained = found[f"iter{t}/train"]
        _, asked = found[f"iter{t}/respond"]
        start, reference = (trained.payload["args"][k]["artifact"] for k in ("start", "reference"))
        assert start == reference == asked.payload["args"]["engine"]["engine"]
        assert trained.inputs[start]["step"] == model
        assert stamp(finished, f"iter{t}/train")["reference"] == start


def test_the_opponent_carries_the_digest_of_its_files(finished: Path) -> None:
    """What a training step compares before it begins; the files of a model from a step."""
    path, record = steps(finished)["iter0/train-merge"]
    model = load(record, path)
    assert isinstance(model, Model)
    assert model.digest == digest(Path(model.path))


def test_the_window_reaches_back(finished: Path) -> None:
    found = steps(finished)
    names = [
        {entry["step"] for entry in found[f"iter{t}/train"][1].inputs.values()} - {"base"}
        for t in (0, 1)
    ]
    assert names == [{"iter0/pairs"}, {"iter0/pairs", "iter1/pairs", "iter0/train-merge"}]


def test_pairs_are_traced_to_seeds_and_answers(finished: Path) -> None:
    found = steps(finished)
    answers = {row.id for row in read_rows(found["iter1/respond"][0])}
    pairs = [row for row in read_rows(found["iter1/pairs"][0]) if row.set_aside is None]
    assert pairs
    for row in pairs:
        seed, answer = row.parents
        assert seed.startswith("seed-")
        assert answer in answers


def test_the_control_is_as_much_training_on_the_real_answers(finished: Path) -> None:
    path, _ = steps(finished)["control/sft-on-the-real-answers"]
    told = json.loads((path / "result.json").read_text())
    assert told["updates"] == 2 * built().dpo.max_updates  # type: ignore[operator]
    assert told["rows"] == 40


def test_full_training_needs_no_merge(tmp_path: Path) -> None:
    steps = planned(tmp_path / "run", "dpo.lora=null")
    assert "iter0/train" in steps
    assert "iter0/train-merge" not in steps


def answers_of(folder: Path, form: str, ending: str, shift: int = 0) -> Path:
    """A file of answers, or of pairs, to some of our seeds."""
    rows = [r for r in read_examples(builtin_seeds()) if len(r.response) < 120][:40]
    made: list[Any] = [
        PreferencePair(
            id=r.id,
            instruction=question(r),
            chosen=r.response,
            rejected=f"made elsewhere {n + shift}",
            system=r.system,
        )
        for n, r in enumerate(rows)
    ]
    path = folder / f"{form}{shift}.{ending}"
    if form == "spin":
        write_rows_as(made, path, "spin")
    else:
        lines = [{"instruction": p.instruction, "response": p.rejected} for p in made]
        path.write_text("\n".join(map(json.dumps, lines)))
    return path


def test_answers_from_elsewhere_stand_for_generation(tmp_path: Path) -> None:
    given = {"iter0/respond": str(answers_of(tmp_path, "answers", "jsonl"))}
    cfg = built("iterations=1", "controls=false", "pairs.max_prompts=null")
    with opened(tmp_path / "run", given=given) as run:
        spin.recipe(run, cfg)
    path, _ = steps(tmp_path / "run")["iter0/pairs"]
    used = [row for row in read_rows(path) if row.set_aside is None]
    assert len(used) >= 30
    assert all(row.rejected.startswith("made elsewhere") for row in used)


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_published_pairs_skip_generation(tmp_path: Path, ending: str) -> None:
    given = {"iter0/pairs": str(answers_of(tmp_path, "spin", ending))}
    found = steps(DRY.finished(tmp_path / "run", "iterations=1", given=given))
    assert "iter0/respond" not in found
    assert found["iter0/pairs"][1].result["kind"] == "pair"
    told = json.loads((found["iter0/train"][0] / "result.json").read_text())
    assert told["rows"] == 40
    assert {state for state, _ in planned(tmp_path / "run", "iterations=1", given=given).values()} <= {
        "remembered",
        "given",
        "not needed",
    }  # fmt: skip


def test_it_starts_at_any_iteration_with_the_pairs_before_it(tmp_path: Path) -> None:
    given = {"iter0/pairs": str(answers_of(tmp_path, "spin", "jsonl"))}
    start = ("start_iteration=1", "dpo.beta=[0.1, 5.0]", "dpo.learning_rate=[5e-5, 1e-5]")
    found = steps(DRY.finished(tmp_path / "run", *start, given=given))
    early = {step for step in found if step.startswith("iter0")}
    assert early == {"iter0/pairs"}
    config_used = found["iter1/train"][1].payload["args"]["config"]
    assert (config_used["beta"], config_used["learning_rate"]) == (5.0, 1e-5)
    made_of = {entry["step"] for entry in found["iter1/train"][1].inputs.values()}
    assert made_of == {"base", "iter0/pairs", "iter1/pairs"}
    without = planned(tmp_path / "other", *start)
    assert not {step for step in without if step.startswith("iter0")}


def test_pairs_that_are_no_pairs_are_one_clear_mistake(tmp_path: Path) -> None:
    path = tmp_path / "same.jsonl"
    path.write_text(json.dumps({"prompt": "Q", "chosen": "A", "rejected": "A"}) + "\n")
    with (
        opened(tmp_path / "run", given={"iter0/pairs": str(path)}) as run,
        pytest.raises(InputError, match=r"same.jsonl, line 1: 'chosen' and 'rejected' are the"),
    ):
        spin.recipe(run, built())


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("dpo.beta=[0.1]", r"dpo\.beta has 1 values for 2 iterations.*dpo\.beta=\[\.\.\.\]"),
        ("dpo.learning_rate=[1e-6]", r"dpo\.learning_rate has 1 values for 2 iterations"),
        ("window=[1]", "window has 1 values for 2 iterations"),
        ("window=[1, 0]", "window holds 0: give numbers above 0"),
        ("dpo.beta=0", r"dpo\.beta holds 0"),
        ("start_iteration=2", "start_iteration=2 leaves nothing of iterations=2"),
        ("base_format=raw", "base_format: Input should be 'chat'"),
        ("dpo.args.beta=1", r"args\.beta: set `beta` instead"),
    ],
)
def test_bad_settings_are_one_clear_mistake(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        built(override)


def test_presets_build_and_paper_says_what_the_paper_says() -> None:
    paper = config.build(spin.Config, "spin", preset="paper", overrides=["base=fake"])
    by_iteration = [paper.dpo.at(t) for t in range(4)]
    assert [c.learning_rate for c in by_iteration] == [5e-7, 5e-7, 1e-7, 1e-7]
    assert [c.beta for c in by_iteration] == [0.1, 0.1, 0.1, 5.0]
    assert paper.window == (1, 2, 2, 2)
    assert (paper.dpo.lora, paper.dpo.optimizer, paper.dpo.batch_size) == (None, "rmsprop", 64)
    assert (paper.dpo.epochs, paper.dpo.schedule, paper.dpo.warmup_updates) == (2, "linear", 0.1)
    assert paper.respond.sampling.max_tokens == 256
    assert paper.select_by == "last"
    assert set(config.presets("spin")) == {"default", "demo", "paper", "code"}


def test_paper_preset_runs_on_the_fake_path(tmp_path: Path) -> None:
    overrides = ["base=fake", "measure.probes=55", "pairs.max_prompts=40"]
    cfg = config.build(spin.Config, "spin", preset="paper", overrides=overrides)
    with opened(tmp_path / "run") as run:
        model = spin.recipe(run, cfg)
    assert json.loads((Path(model.path) / "fake.json").read_text())["kind"] == "merge"
    found = steps(tmp_path / "run")
    sizes = [
        json.loads((found[f"iter{t}/train"][0] / "result.json").read_text())["rows"]
        for t in range(4)
    ]
    assert sizes[1] == sizes[2] == sizes[3] == 2 * sizes[0]
    assert not [step for step in found if step.startswith("control")]


def test_each_epoch_is_kept_measured_and_the_best_goes_on(tmp_path: Path) -> None:
    kept = ("dpo.keep_epochs=true", "dpo.epochs=3", "dpo.max_updates=null", "iterations=1")
    DRY.finished(tmp_path / "run", *kept)
    found = steps(tmp_path / "run")
    made = {name for name in found if name.startswith("iter0/epoch")}
    taken = {f"iter0/epoch{n}{part}" for n in (1, 2) for part in ("", "-merge", "-measure")}
    assert made == taken | {"iter0/epoch3-measure", "iter0/epoch"}
    assert "iter0/measure" not in found
    inputs = {name: {e["step"] for e in found[name][1].inputs.values()} for name in found}
    assert inputs["iter0/epoch1"] == {"iter0/train"}
    assert inputs["iter0/epoch1-merge"] == {"iter0/epoch1"}
    assert inputs["iter0/epoch3-measure"] >= {"iter0/train-merge"}
    assert inputs["iter0/epoch"] == {f"iter0/epoch{n}-measure" for n in (1, 2, 3)}
    best = int(found["iter0/epoch"][1].result["value"])
    assert f"iter0/epoch{best + 1}-measure" in inputs["select"]
    assert [stamp(tmp_path / "run", f"iter0/epoch{n}")["epoch"] for n in (1, 2)] == [1, 2]
    assert {state for state, _ in planned(tmp_path / "run", *kept).values()} == {"remembered"}


def test_epochs_are_planned_before_there_are_any(tmp_path: Path) -> None:
    kept = ("dpo.keep_epochs=true", "dpo.epochs=2", "dpo.max_updates=null", "dpo.lora=null")
    plan = planned(tmp_path / "none", *kept)
    assert plan["iter0/epoch1"][0] == plan["iter1/epoch2-measure"][0] == "new"
    assert not {
        name for name in plan if name.endswith("-merge") and "train" in name and "iter" in name
    }
