"""Rows of the user's own in every training: read once, drawn alike by method and controls, traced."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from dry import Dry, steps

from woolgather.core.errors import ConfigError, InputError
from woolgather.core.rows import Example
from woolgather.core.storage import read_rows
from woolgather.data import write_rows_as
from woolgather.recipes import config
from woolgather.release.folder import write_release
from woolgather.report.lineage import trace

SMALL = {
    "isheep": ["iterations=2", "per_iteration=12", "judge.pairs=24"],
    "humback": ["iterations=1", "judge.pairs=24"],
    "dromedary": ["adherence.sample=0", "pool.limit=24", "name=Fern"],
}
MIXES = {
    "isheep": {"iter0/mix", "iter1/mix", "control/random-mix", "control/seeds-mix"},
    "humback": {"forward/mix", "iter0/mix", "control/random-mix"},
    "dromedary": {"engrave/mix", "control/seeds-mix", "control/plain-mix"},
}
"""All that train the model forward."""
BEFORE = {
    "isheep": {"iter0/synthesize", "iter0/respond", "iter0/keep"},
    "humback": {"backward/train", "backtranslate", "texts"},
    "dromedary": {"engrave/align", "engrave/rules", "engrave/prune"},
}
ROWS = 60


def dry(recipe: str) -> Dry:
    base = ["base=fake", "measure.probes=55", "measure.calibration=12", *SMALL[recipe]]
    return Dry(config.find_recipe(recipe), base)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "sft.jsonl"
    path.write_text("".join(json.dumps({"messages": talk(i)}) + "\n" for i in range(ROWS)))
    return path


def talk(i: int) -> list[dict[str, str]]:
    """The messages of a line; those of every third go on."""
    said = [f"Name tool {i}.", f"A spade, {i}.", "And its use?", "It digs."]
    roles = ("user", "assistant") * 2
    turns = [{"role": role, "content": text} for role, text in zip(roles, said, strict=True)]
    return turns if i % 3 == 0 else turns[:2]


@pytest.fixture(scope="module", params=list(SMALL))
def finished(
    request: pytest.FixtureRequest, own: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("replay") / "run"
    return request.param, dry(request.param).finished(folder, f"mix.replay={own}")


def replayed(folder: Path, step: str) -> list[Example]:
    rows = read_rows(steps(folder)[step][0])
    return [row for row in rows if row.meta.get("origin") == "replay"]  # type: ignore[misc]


def test_every_training_has_its_share_and_draws_the_same_rows(finished: tuple[str, Path]) -> None:
    recipe, folder = finished
    known = steps(folder)
    drawn = []
    for step in MIXES[recipe]:
        record = known[step][1]
        told = next(view for view in record.shown() if view.title == "Training rows")
        assert "of the training tokens are replayed" in told.note
        assert dict(told.data["rows"])["replay"] == len(replayed(folder, step)) > 0
        drawn.append({row.id for row in replayed(folder, step)})
        places = {row.meta["place"] for row in replayed(folder, step)}
        assert places <= {f"sft.jsonl, line {i + 1}" for i in range(ROWS)}
    drawn.sort(key=len)
    assert all(fewer <= more for fewer, more in pairwise(drawn))
    others = [step for step in known if step.endswith("mix") and step not in MIXES[recipe]]
    assert not any(replayed(folder, step) for step in others), "such as Humback's backward model"


def test_conversations_are_trained_on_and_exported_as_they_were_given(
    finished: tuple[str, Path], tmp_path: Path
) -> None:
    recipe, folder = finished
    rows = replayed(folder, min(MIXES[recipe]))
    out = tmp_path / "out.jsonl"
    write_rows_as([replace(row, system="") for row in rows], out, "messages")  # Humback's lines
    written = [json.loads(line)["messages"] for line in out.read_text().splitlines()]
    assert written == [talk(int(str(row.meta["place"]).rpartition(" ")[2]) - 1) for row in rows]
    assert any(len(turns) == 4 for turns in written)
    several = sum(len(turns) == 4 for turns in written)
    table = next(v for v in steps(folder)[min(MIXES[recipe])][1].shown() if v.kind == "table")
    assert f"Rows of several turns: {several}." in table.note


def test_a_row_is_traced_to_its_file(finished: tuple[str, Path]) -> None:
    recipe, folder = finished
    row = replayed(folder, min(MIXES[recipe]))[0]
    assert trace(folder, row.id).where.startswith("inputs/replay-")


def test_other_rows_mean_other_trainings_and_another_folder_none(
    finished: tuple[str, Path], own: Path, tmp_path: Path
) -> None:
    recipe, folder = finished
    moved = tmp_path / own.name
    moved.write_text(own.read_text())
    plan = dry(recipe).planned(folder, f"mix.replay={moved}")
    assert {state for state, _ in plan.values()} == {"remembered"}
    moved.write_text(own.read_text().replace("spade", "rake"))
    changed = dry(recipe).planned(folder, f"mix.replay={moved}")
    assert {step for step in MIXES[recipe] if changed[step][0] == "new"} == MIXES[recipe]
    share = dry(recipe).planned(folder, f"mix.replay={own}", "mix.replay_share=0.4")
    assert {step for step in MIXES[recipe] if "replay_share" in share[step][1]} == MIXES[recipe]


def test_what_is_made_before_a_mix_stands_without_replay(finished: tuple[str, Path]) -> None:
    recipe, folder = finished
    anew = {s for s, (state, _) in dry(recipe).planned(folder).items() if state == "new"}
    assert MIXES[recipe] <= anew
    assert not anew & BEFORE[recipe]


def test_cards_name_the_file_without_its_folder(
    finished: tuple[str, Path], own: Path, tmp_path: Path
) -> None:
    recipe, folder = finished
    model = {"isheep": "iter0", "humback": "iter0", "dromedary": "engrave"}[recipe]
    write_release(folder, tmp_path, "ann/sheep", [model], data=True)
    print_ = steps(folder)["replay"][1].payload["args"]["rows"]["artifact"]
    for card in (f"models/{model}/README.md", "data/README.md"):
        text = (tmp_path / card).read_text()
        assert f"| replay | sft.jsonl, {ROWS} rows, `{print_[:12]}` |" in text
        assert "seeds and replayed rows of its user (sft.jsonl) beside them" in text
        assert "`replay`" not in text.partition("## Configurations")[2].partition("##")[0]
    lineage = json.loads((tmp_path / "data/lineage.json").read_text())
    assert next(each for each in lineage if each["step"] == "replay")["made_from"] == [print_]
    assert str(own.parent) not in "".join(p.read_text() for p in tmp_path.rglob("*.md"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, r"gone\.jsonl: no such file"),
        ("", r"gone\.jsonl"),
        ('{"instruction": "Q", "response": " "}\n', r"line 1: field 'response' is empty"),
        ('{"question": "Q"}\n', r"line 1: the fields \(question\)"),
    ],
)
def test_rows_that_cannot_be_replayed_are_refused_in_the_plan(
    content: str | None, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "gone.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=said):
        dry("dromedary").planned(tmp_path / "run", f"mix.replay={path}")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("mix.replay_share=0", r"^mix\.replay_share: .* greater than 0"),
        ("mix.replay_share=1", r"^mix\.replay_share: .* less than 1"),
        ("mix.replay_share=0.3", r"name them with mix\.replay=FILE"),
        ("mix.replay=7", r"^mix\.replay: a file, a folder or a list of them belongs here"),
    ],
)
def test_a_setting_that_cannot_be(wrong: str, said: str) -> None:
    for recipe in SMALL:
        with pytest.raises(ConfigError, match=said):
            dry(recipe).built(wrong)


def test_several_files_by_naming_the_setting_again() -> None:
    built = dry("humback").built("mix.replay=a.jsonl", "mix.replay=b.jsonl")
    assert built.mix.replay == ("a.jsonl", "b.jsonl")
