"""I-SHEEP on the fake engine: it ends, an option re-runs the steps it concerns and their dependants."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dry import Dry, steps

from woolgather.core.artifacts import Model
from woolgather.core.errors import InputError
from woolgather.engines.base import Sampling
from woolgather.engines.fake import FakeEngine, make_text
from woolgather.ops.measure.prompt_format import PROBE_SEED, PROBES
from woolgather.probes import generate, task_of
from woolgather.prompting.turns import answer_prompt
from woolgather.recipes import config, isheep
from woolgather.runs.record import current_steps

BASE = ["base=fake", "iterations=2", "per_iteration=12", "judge.pairs=24", "measure.probes=55",
        "measure.calibration=12"]  # fmt: skip


DRY = Dry(isheep, BASE)
built, opened, planned = DRY.built, DRY.opened, DRY.planned
ITERATIONS = ("iter0", "iter1")


def each(*names: str) -> set[str]:
    return {f"{it}/{name}" for it in ITERATIONS for name in names}


CANDIDATES = {"measure", *each("measure")}
MEASURED = {
    *CANDIDATES, "control/fewshot-measure", "control/seeds-alone-measure",
    "control/random-rows-measure",
}  # fmt: skip
BY_VALUE = {
    "control/seeds-alone": {"control/random-mix"},
    "control/random0": {"iter0/keep"},
    "control/random1": {"iter1/keep"},
    **{name: {"tier"} for name in CANDIDATES},
}
"""Controls get as many rows and updates, and candidates are asked the probes of one tier."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return DRY.finished(tmp_path_factory.mktemp("isheep") / "run")


def test_nothing_changed_nothing_to_do(finished: Path) -> None:
    assert {state for state, _ in planned(finished).values()} == {"remembered"}


TRAINED = {*each("train"), "control/seeds-alone", "control/random-rows"}
CASES: list[tuple[str, set[str]]] = [
    ("base_format=raw", set()),
    ("synthesis.items=9", each("synthesize")),
    ("synthesis.format=raw", each("synthesize")),
    ("synthesis.template=synthesize", each("synthesize")),
    ("synthesis.demos.count=4", each("synthesize")),
    ("synthesis.demos.method=density", each("synthesize")),
    ("synthesis.demos.method=inverse_perplexity", each("synthesize")),
    ("synthesis.demos.with_machine=1", each("synthesize")),
    ("synthesis.sampling.temperature=0.8", each("synthesize")),
    ("synthesis.rules.use=[none]", each("synthesize")),
    ("synthesis.novelty.threshold=0.6", each("synthesize")),
    ("synthesis.wave=8", each("synthesize")),
    ("synthesis.max_prompts=44", each("synthesize")),
    ("synthesis.minimum=0.05", each("synthesize")),
    ("per_iteration=13", each("synthesize")),
    ("per_iteration=[12, 13]", {"iter1/synthesize"}),
    ("respond.sampling.top_p=0.9", each("respond")),
    ("respond.samples=2", each("respond")),
    ("respond.unfinished=keep", each("respond")),
    ("respond.shots=3", {"shots"}),
    ("rules.use=[none]", each("rules")),
    ("judge.assessor=rubric", each("audition")),
    ("judge.pairs=30", each("audition")),
    ("judge.probes=5", each("audition")),
    ("judge.on_unfit=keep_all", each("audition")),
    ("judge.candidates=[rubric]", each("audition")),
    ("judge.rubric.style=simple", each("audition", "assess")),
    ("judge.rubric.style=icl", each("audition", "assess")),
    ("judge.sampling.max_tokens=32", each("audition", "assess")),
    ("judge.floor=0.1", each("assess")),
    ("judge_model=base", {"iter1/assess"}),
    ("keep.by=fraction", each("keep")),
    ("keep.by=random", each("keep")),
    ("keep.by=all", each("keep")),
    ("keep.by=perplexity", each("keep")),
    ("keep.by=density", each("keep")),
    ("keep.by=density_perplexity", each("keep")),
    ("keep.on=[quality]", each("keep")),
    ("keep.above=7", each("keep")),
    ("keep.fraction=0.3", each("keep")),
    ("keep.limit=4", each("keep")),
    ("mix.seeds=false", {*each("mix"), "control/random-mix"}),
    ("mix.one_per_prompt=false", {*each("mix"), "control/random-mix"}),
    ("history=none", {"iter1/mix", "control/random-mix"}),
    ("init_from=last", {"iter1/train"}),
    ("sft.learning_rate=1e-4", TRAINED),
    ("sft.lora.r=4", TRAINED),
    ("sft.epochs=3", TRAINED),
    ("sft.batch_size=6", TRAINED),
    ("sft.args.adam_beta2=0.95", TRAINED),
    ("sft.max_rows=20", {*each("mix"), *TRAINED, "control/random-mix", "control/seeds-mix"}),
    ("sft.max_length=256", {*each("mix"), *TRAINED, "control/random-mix", "control/seeds-mix"}),
    (
        "lora_scale=0.5",
        {*each("train-merge"), "control/seeds-alone-merge", "control/random-rows-merge"},
    ),
    ("sft.micro_batch_size=2", set()),
    ("sft.args.dataloader_num_workers=1", set()),
    ("measure.probes=60", MEASURED),
    ("measure.max_tokens=24", {"tier", *MEASURED}),
    ("measure.probe_seed=7", {"probes", *MEASURED}),
    ("measure.tier=middle", CANDIDATES),
    ("measure.calibration=24", {"tier"}),
    ("measure.likelihood=true", MEASURED),
    ("measure.margin=25", MEASURED),
    ("embedding_map.points=9", each("portrait")),
    ("embedding_map.sample=9", set()),
    ("patience=null", each("stop")),
    ("select_by=heldout", {*each("stop"), "select", "summary"}),
    ("controls=false", {"summary"}),
]


@pytest.mark.parametrize(("override", "own"), CASES, ids=[case[0] for case in CASES])
def test_option_changes_its_steps_and_their_dependants_only(
    finished: Path, override: str, own: set[str]
) -> None:
    if override == "base_format=raw":  # asks the same model differently: every step that asks it
        new = {step for step, (state, _) in planned(finished, override).items() if state == "new"}
        assert {"measure", "iter0/synthesize", "iter0/audition", "iter0/portrait"} <= new
        assert "shots" not in new
        return
    DRY.holds(finished, override, own, BY_VALUE)


def test_all_maps_have_the_axes_of_the_reference_that_is_given(
    finished: Path, tmp_path: Path
) -> None:
    """Its content is their identity, wherever the file lies."""

    def maps(folder: str, word: str) -> dict[str, str]:
        path = tmp_path / folder / "rows.jsonl"
        path.parent.mkdir()
        rows = [{"instruction": f"{word} {i}.", "response": "Done."} for i in range(5)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        with opened(finished, plan=True) as run:
            isheep.recipe(run, built(f"embedding_map.reference={path}"))
        return {p.step: p.fingerprint for p in run.planned if p.state == "new"}

    first = maps("one", "Say")
    assert list(first) == ["map-axes", *sorted(each("portrait")), "summary"]
    assert maps("two", "Say") == first
    other = maps("three", "Draw")
    assert not set(other.values()) & set(first.values())


def test_a_reference_of_two_rows_is_refused(finished: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"instruction": "Say it.", "response": "It."}\n' * 2)
    with pytest.raises(InputError, match=r"embedding_map\.reference holds 2 rows"):
        planned(finished, f"embedding_map.reference={path}")


def test_a_base_in_blocks_is_measured_as_tuned_models_are_too(tmp_path: Path) -> None:
    folder, one = tmp_path / "run", ("iterations=1", "controls=false")
    assert "chat-measure" not in planned(folder, *one, "base_format=chat")
    DRY.finished(folder, *one, "base_format=blocks")
    summary = steps(folder)["summary"][1]
    models = next(view.data for view in summary.shown() if view.title == "Models")
    forms = [(str(row[0]).removesuffix(" ← result"), row[-1]) for row in models["rows"]]
    assert forms == [("base", "blocks"), ("base, asked as a chat", "chat"), ("iter0", "chat")]
    assert summary.result["values"]["against_controls"] == {}, "it is shown, and no rival"


def test_auto_asks_the_base_in_the_form_in_which_it_answers(tmp_path: Path) -> None:
    probes = generate(PROBES, PROBE_SEED, purpose="select")
    right = {answer_prompt(task_of(probe), "blocks"): probe.reference for probe in probes}

    def answer(prompt: str, sampling: Sampling) -> str:
        return right.get(prompt) or make_text(prompt, sampling)

    def only_blocks(model: Model, *_: object) -> FakeEngine:
        return FakeEngine(answer=answer, model=model)

    folder = tmp_path / "run"
    DRY.finished(folder, "iterations=1", "controls=false", "base_format=auto", engine=only_blocks)
    found = steps(folder)
    assert found["format"][1].result["value"] == "blocks"
    assert found["measure"][1].result["values"]["prompted"] == "blocks"
    assert found["chat-measure"][1].result["values"]["prompted"] == "chat"


def test_change_is_explained(finished: Path) -> None:
    plan = planned(finished, "keep.above=7")
    assert plan["iter0/keep"] == ("new", "new because args.rule.above: 8.0 -> 7.0")
    assert "iter0/keep" in plan["iter0/mix"][1]


def test_more_iterations_run_only_new_ones(finished: Path) -> None:
    plan = planned(finished, "iterations=3", "patience=null")
    new = {step for step, (state, _) in plan.items() if state == "new"}
    assert not {s for s in new if s.startswith(ITERATIONS) and not s.endswith("/stop")}
    assert "iter2/synthesize" in new


def test_every_row_is_traced_to_seeds(finished: Path) -> None:
    """Parents lead from a training row to a seed id."""
    from woolgather.core.storage import read_rows

    parents: dict[str, tuple[str, ...]] = {}
    for entry, record in current_steps(finished):
        if record.kind == "dataset":
            for row in read_rows(finished / str(entry["path"])):
                parents[row.id] = row.parents or parents.get(row.id, ())
    mixed = next(
        finished / str(e["path"]) for e, r in current_steps(finished) if r.step == "iter1/mix"
    )
    for row in read_rows(mixed):
        heads = {row.id}
        while any(parents.get(h) for h in heads):
            heads = {p for h in heads for p in (parents.get(h) or (h,))}
        assert all(head.startswith("seed-") for head in heads)


@pytest.mark.parametrize(("judge", "said"), [
    ("fake", "not measured (this judge selected training data, so it would rate its own choice)"),
    ("fake-judge", "not measured (assessor "),
    ("", "not measured (no judge was named for it: measure.win_judge)"),
])  # fmt: skip
def test_a_win_rate_needs_a_judge_that_selected_nothing_and_passed(
    tmp_path: Path, judge: str, said: str
) -> None:
    settings = ["iterations=1", "controls=false", "judge.candidates=[expected]"]
    with opened(tmp_path / "run") as run:
        isheep.recipe(run, built(*settings, f"measure.win_judge={judge}"))
    records = {r.step: r for _, r in current_steps(tmp_path / "run")}
    shown = records["summary"].shown()[0].note
    assert said in shown
    assert ("win-rate/compare" in records) == bool(judge)


def test_controls_have_the_updates_of_a_result_whose_rows_are_limited(tmp_path: Path) -> None:
    settings = ["iterations=1", "sft.max_rows=8", "sft.epochs=2", "sft.batch_size=1"]
    with opened(tmp_path / "run") as run:
        isheep.recipe(run, built(*settings, "sft.validation=0", "sft.max_updates=null"))
    records = {r.step: r for _, r in current_steps(tmp_path / "run")}
    for name in ("control/seeds-alone", "control/random-rows"):
        assert records[name].payload["args"]["config"]["max_updates"] == 16


def test_presets_build_and_paper_says_what_the_paper_says() -> None:
    paper = config.build(isheep.Config, "isheep", preset="paper", overrides=["base=fake"])
    assert paper.keep.by == "threshold"
    assert paper.keep.above == 8
    assert (paper.sft.lora.r, paper.sft.lora.alpha) == (8, 16)  # type: ignore[union-attr]
    assert paper.synthesis.sampling.max_tokens == 1000
    assert paper.select_by == "last"
    assert set(config.presets("isheep")) == {"default", "demo", "small", "paper", "code"}


def test_the_small_preset_practises_from_the_second_round_on(tmp_path: Path) -> None:
    few = ["practice.tasks=[0,29]", "respond.samples=4", "per_iteration=6", "sft.max_updates=2"]
    few += ["measure.probes=55", "measure.margin=0", "measure.calibration=0", "patience=3"]
    cfg = config.build(isheep.Config, "isheep", preset="small", overrides=["base=fake", *few])
    with opened(tmp_path / "run") as run:
        isheep.recipe(run, cfg)
    made = {record.step for _, record in current_steps(tmp_path / "run")}
    assert {"iter0/keep", "iter1/practice", "iter1/keep", "control/random-rows", "summary"} <= made
    assert not {"iter0/practice", "iter0/audition"} & made


def test_paper_preset_runs_on_the_fake_path(tmp_path: Path) -> None:
    cfg = config.build(
        isheep.Config,
        "isheep",
        preset="paper",
        overrides=[*BASE, "keep.by=all", "judge.pairs=16", "judge.probes=0"],
    )
    with opened(tmp_path / "run") as run:
        model = isheep.recipe(run, cfg)
    stamp = json.loads((Path(model.path) / "fake.json").read_text())
    assert stamp["kind"] == "merge"
    steps = [record.step for _, record in current_steps(tmp_path / "run")]
    assert "iter1/train" in steps
    assert not any(step.startswith("control") for step in steps)
