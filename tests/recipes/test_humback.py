"""Humback on the fake engine: it ends, its two models are told apart, an option re-runs its steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from dry import Dry, steps

from woolgather.core.errors import ConfigError, InputError
from woolgather.core.storage import read_rows
from woolgather.data import builtin_texts
from woolgather.recipes import config, humback
from woolgather.report.lineage import trace, walk
from woolgather.runs.record import read_launches

BASE = ["base=fake", "judge.pairs=24", "measure.probes=55"]
LINES = humback.Tags()


DRY = Dry(humback, BASE)
built, opened, planned = DRY.built, DRY.opened, DRY.planned
BY_VALUE = {
    "control/random": {"iter1/keep"},
    "control/random-rows": {"iter1/mix"},
    "result": {"texts"},
}
"""The control gets as many rows and updates as the result, whose card names the number of texts."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return DRY.finished(tmp_path_factory.mktemp("humback") / "run")


def rows_of(folder: Path, step: str) -> list[Any]:
    return list(read_rows(steps(folder)[step][0]))


def test_nothing_changed_nothing_to_do(finished: Path) -> None:
    assert {state for state, _ in planned(finished).values()} == {"remembered"}


def test_a_second_run_executes_nothing(finished: Path) -> None:
    with opened(finished) as run:
        humback.recipe(run, built())
    last = read_launches(finished)[-1]
    assert {entry["state"] for entry in last.steps} == {"remembered"}


ROUNDS = ("iter0", "iter1")


def each(*names: str) -> set[str]:
    return {f"{it}/{name}" for it in ROUNDS for name in names}


MIXED = {"backward/mix", "forward/mix", *each("mix"), "control/random-mix"}
ONCE = {"backward/train", "forward/train"}
TRAINED = {*ONCE, *each("train"), "control/random-rows"}
BOTH = {*each("train-merge"), "control/random-rows-merge"}
MEASURED = {
    "measure", "forward/measure", *each("measure"), "control/random-rows-measure",
    "control/fewshot-measure",
}  # fmt: skip
CASES: list[tuple[str, set[str]]] = [
    ("text.min_chars=400", {"texts"}),
    ("text.max_chars=900", {"texts"}),
    ("text.cut=headings", {"texts"}),
    ("text.rules=[paper]", {"texts"}),
    ("text.near_duplicate=null", {"texts"}),
    ("text.limit=20", {"texts"}),
    ("backward.template=rewrite", set()),
    ("backward.min_pairs=20", {"backward/reverse"}),
    ("backward.sampling.temperature=0.5", {"backtranslate"}),
    ("backward.rules.use=[none]", {"backtranslate"}),
    ("backward.novelty.threshold=1.0", {"backtranslate"}),
    ("judge.assessor=rubric", each("audition")),
    ("judge.assessor=none", each("assess", "keep")),
    ("judge.candidates=[yes_no]", each("audition")),
    ("judge.pairs=30", each("audition")),
    ("judge.probes=5", each("audition")),
    ("judge.sampling.max_tokens=64", each("audition", "assess")),
    ("judge.floor=0.1", each("assess")),
    ("judge.strict=true", each("read")),
    ("judge.window=[20, 700]", each("read")),
    ("keep.by=fraction", each("keep")),
    ("keep.by=random", each("keep")),
    ("keep.at_least=4", each("keep")),
    ("keep.fraction=0.3", each("keep")),
    ("keep.limit=10", each("keep")),
    ("rewrite=true", each("portrait", "tag")),
    ("rewriting.sampling.temperature=0.1", set()),
    ("tags.use=false", {"forward/tag", *each("tag"), "control/random-tag"}),
    ("tags.seed=Answer.", {"forward/tag", "forward/train-merge", *BOTH}),
    ("tags.augmented=Know.", {*each("tag"), "control/random-tag", *BOTH}),
    ("mix.seeds=false", {*each("mix"), "control/random-mix"}),
    ("sft.learning_rate=1e-4", TRAINED),
    ("sft.args.adam_beta2=0.95", TRAINED),
    ("sft.max_length=256", {*MIXED, *TRAINED}),
    ("sft.max_rows=100", {*MIXED, *TRAINED}),
    ("sft.micro_batch_size=2", set()),
    ("seed_updates=9", ONCE),
    ("updates=9", {*each("train"), "control/random-rows"}),
    ("measure.probes=60", MEASURED),
    ("patience=null", each("stop")),
    ("select_by=heldout", {*each("stop"), "select", "summary"}),
    ("controls=false", {"summary"}),
]


@pytest.mark.parametrize(("override", "own"), CASES, ids=[case[0] for case in CASES])
def test_option_changes_its_steps_and_their_dependants_only(
    finished: Path, override: str, own: set[str]
) -> None:
    if override == "backward.template=rewrite":
        with pytest.raises(InputError, match="question"):
            planned(finished, override)
        return
    DRY.holds(finished, override, own, BY_VALUE)


def test_two_models_two_lineages(finished: Path) -> None:
    """The instructions come from the backward model, the verdicts from the forward one."""
    above = {node.name for _, node in walk(trace(finished, "backtranslate"))}
    assert {"backward/train", "backward/reverse", "texts"} <= above
    assert not any(name.startswith("forward") for name in above)
    above = {node.name for _, node in walk(trace(finished, "iter0/assess"))}
    assert {"backward/train", "forward/train"} <= above
    above = {node.name for _, node in walk(trace(finished, "iter1/assess"))}
    assert {"backward/train", "forward/train", "iter0/train"} <= above
    starts = {
        name: read_stamp_of(finished, name)["start"]
        for name in ("backward/train", "forward/train", "iter0/train", "iter1/train")
    }
    assert len(set(starts.values())) == 1, "always from the base"


def read_stamp_of(folder: Path, step: str) -> dict[str, Any]:
    place, record = steps(folder)[step]
    path = str(place / str(record.result["path"]))
    return dict(json.loads((Path(path) / "fake.json").read_text()))


def test_a_row_is_followed_to_its_text(finished: Path) -> None:
    row = next(r for r in rows_of(finished, "iter1/mix") if r.meta["origin"] == "backtranslated")
    told = [node.where for _, node in walk(trace(finished, row.id))]
    assert any("backtranslate" in where for where in told)
    assert "texts" in told
    text = next(r for r in rows_of(finished, "texts") if r.id == row.parents[0])
    assert text.response == row.response
    assert text.meta["source"].startswith("texts.jsonl, line ")


def test_each_kind_has_its_line_and_the_models_have_both(finished: Path) -> None:
    lines = {(r.meta["origin"], r.system) for r in rows_of(finished, "iter0/mix")}
    assert lines == {("seed", LINES.seed), ("backtranslated", LINES.augmented)}
    assert {r.system for r in rows_of(finished, "backward/mix")} == {""}
    said = {
        name: read_stamp_of(finished, name)["config"]["system"]
        for name in ("backward/train-merge", "forward/train-merge", "iter1/train-merge")
    }
    assert said == {
        "backward/train-merge": "",
        "forward/train-merge": LINES.seed,
        "iter1/train-merge": f"{LINES.seed}\n{LINES.augmented}",
    }


def test_without_tags_there_is_no_line_anywhere(tmp_path: Path) -> None:
    with opened(tmp_path / "run") as run:
        humback.recipe(run, built("tags.use=false", "controls=false", "iterations=1"))
    assert {r.system for r in rows_of(tmp_path / "run", "iter0/mix")} == {""}
    stamp = read_stamp_of(tmp_path / "run", "iter0/train-merge")
    assert stamp["config"]["system"] == ""


def test_several_update_counts_are_tried_and_one_goes_on(tmp_path: Path) -> None:
    with opened(tmp_path / "run") as run:
        humback.recipe(run, built("updates=[3, 5]", "iterations=1"))
    found = steps(tmp_path / "run")
    assert {"iter0/train-3", "iter0/train-5", "iter0/measure-3", "iter0/updates"} <= set(found)
    value = found["iter0/updates"][1].result["value"]
    assert value in (0, 1)
    control = found["control/random-rows"][1].payload["args"]["config"]
    assert control["max_updates"] == (3, 5)[value]


def test_rewriting_comes_after_curation(tmp_path: Path) -> None:
    with opened(tmp_path / "run") as run:
        humback.recipe(run, built("rewrite=true", "iterations=1", "controls=false"))
    folder = tmp_path / "run"
    kept = {r.id: r for r in rows_of(folder, "iter0/keep") if r.set_aside is None}
    new = rows_of(folder, "iter0/rewrite")
    assert [r.parents[0] for r in new] == list(kept)
    assert all(r.response != kept[r.parents[0]].response for r in new)
    trained = [r for r in rows_of(folder, "iter0/mix") if r.meta["origin"] == "backtranslated"]
    assert trained
    assert all(r.meta["rewritten"] for r in trained)


def test_the_control_has_as_many_rows_and_updates(finished: Path) -> None:
    found = steps(finished)
    assert found["control/random"][1].result["count"] == found["iter1/keep"][1].result["count"]
    args = {n: found[n][1].payload["args"] for n in ("control/random-rows", "iter1/train")}
    updates = {args[n]["config"]["max_updates"] for n in args}
    assert len(updates) == 1
    table = found["summary"][1].shown()[0].data["rows"]
    names = {str(row[0]).split(" ←")[0] for row in table}
    # The dry judge keeps nearly everything, and the table says so.
    assert {"seeds alone (M_0)", "the same rows", "few-shot base", "base"} <= names


def test_more_rounds_run_only_new_ones(finished: Path) -> None:
    plan = planned(finished, "iterations=3", "patience=null")
    new = {step for step, (state, _) in plan.items() if state == "new"}
    assert not {s for s in new if s.startswith(ROUNDS) and not s.endswith("/stop")}
    assert "iter2/assess" in new
    assert "backtranslate" not in new


def test_seeds_too_few_for_a_backward_model(tmp_path: Path) -> None:
    seeds = tmp_path / "few.jsonl"
    pair = {"instruction": "Name a bird that swims.", "response": "The duck."}
    seeds.write_text("\n".join(json.dumps({**pair, "id": f"s{i}"}) for i in range(5)))
    with opened(tmp_path / "run") as run, pytest.raises(InputError) as found:
        humback.recipe(run, built(f"seeds={seeds}"))
    assert "5 pairs" in str(found.value)
    assert "at least 16" in str(found.value)
    assert "backward.min_pairs" in str(found.value)


@pytest.mark.parametrize("key", ["judge.assessor=expected", "judge.candidates=[expected]"])
def test_an_assessor_that_cannot_read_this_rubric_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match="begins with reasons"):
        built(key)


def test_presets_build_and_paper_says_what_the_paper_says() -> None:
    paper = built(preset="paper")
    assert (paper.backward.sampling.temperature, paper.backward.sampling.top_p) == (0.7, 0.9)
    assert (paper.judge.sampling.max_tokens, paper.keep.at_least) == (512, 5)
    assert (paper.sft.learning_rate, paper.sft.schedule) == (1e-5, "polynomial")
    assert paper.sft.args["lr_scheduler_kwargs"] == {"lr_end": 9e-6, "power": 1.0}
    assert (paper.sft.batch_size, paper.sft.max_length, paper.sft.lora) == (32, 2048, None)
    assert (paper.seed_updates, paper.text.limit) == (500, 502_000)
    assert set(config.presets("humback")) == {"default", "demo", "paper"}


def test_paper_preset_runs_on_the_fake_path(tmp_path: Path) -> None:
    cfg = built(
        "keep.by=all", "judge.pairs=16", "judge.probes=0", "text.min_chars=100", preset="paper"
    )
    with opened(tmp_path / "run") as run:
        model = humback.recipe(run, cfg)
    assert json.loads((Path(model.path) / "fake.json").read_text())["kind"] == "merge"
    found = steps(tmp_path / "run")
    assert found["iter0/audition"][1].result["value"]["kind"] == "rubric"
    assert found["iter1/train"][1].payload["args"]["config"]["lora"] is None
    assert read_stamp_of(tmp_path / "run", "iter1/train-merge")["config"]["system"]
    assert not any(step.startswith("control") for step in found)


def test_texts_of_several_places_and_of_a_column(tmp_path: Path) -> None:
    lines = builtin_texts().read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    (tmp_path / "notes").mkdir()
    for i, text in enumerate(texts[:3]):
        (tmp_path / "notes" / f"{i}.md").write_text(text)
    table = tmp_path / "more.jsonl"
    table.write_text("\n".join(json.dumps({"body": text}) for text in texts[3:6]))
    cfg = built(
        f"texts=[{tmp_path / 'notes'}, {table}]", "text.column=body", "iterations=1",
        "controls=false",
    )  # fmt: skip
    with opened(tmp_path / "run") as run:
        humback.recipe(run, cfg)
    rows = rows_of(tmp_path / "run", "texts")
    assert [r.response for r in rows] == [t.strip() for t in texts[:6]]
    assert [r.meta["source"] for r in rows][::3] == ["notes/0.md", "more.jsonl, line 1"]
