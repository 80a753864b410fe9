"""Published files in the place of seeds and steps: the right rows are trained on, and no others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dry import Dry, steps

from woolgather.core.storage import read_rows
from woolgather.recipes import dromedary, humback, isheep, spin
from woolgather.runs.progress import Progress

QUICK = ["base=fake", "iterations=1", "measure.probes=55", "controls=false"]


class Notes(Progress):
    """Keeps what a run tells."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None:
        self.told.append(text)


def save(path: Path, records: list[Any]) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def used(folder: Path, step: str) -> list[Any]:
    return [row for row in read_rows(steps(folder)[step][0]) if row.set_aside is None]


def ran(recipe: Any, settings: list[str], folder: Path, **given: str) -> list[str]:
    dry, notes = Dry(recipe, settings), Notes()
    named = {step.replace("_", "/"): path for step, path in given.items()}
    run = dry.opened(folder, given=named)
    run.progress = notes
    with run:
        recipe.recipe(run, dry.built())
    return notes.told


def test_spins_own_files_are_seeds_and_answers(tmp_path: Path) -> None:
    def talk(number: int, answer: str) -> list[dict[str, str]]:
        asked = {"role": "user", "content": f"What is the use of number {number}?"}
        return [asked, {"role": "assistant", "content": answer}]

    shards = tmp_path / "generated"
    shards.mkdir()
    for shard in (0, 1):
        numbers = range(20 * shard, 20 * shard + 20)
        pairs = [
            {"real": talk(n, f"people {n}"), "generated": talk(n, f"machine {n}")} for n in numbers
        ]
        save(shards / f"loser_{shard}.jsonl", pairs)
        save(shards / f"loser_{shard}_test.jsonl", pairs[:1])
    seeds = [{"real": talk(n, f"people {n}"), "generated": talk(n, "")} for n in range(40)]
    told = ran(
        spin,
        [*QUICK, f"seeds={save(tmp_path / 'train.jsonl', seeds)}"],
        tmp_path / "run",
        iter0_respond=str(shards),
    )
    pairs = used(tmp_path / "run", "iter0/pairs")
    assert {(p.chosen, p.rejected) for p in pairs} == {
        (f"people {n}", f"machine {n}") for n in range(40)
    }
    assert [note for note in told if "left out" in note] == [
        f"{shards}: left out loser_0_test.jsonl, loser_1_test.jsonl: it is for measuring, and never "
        "trained on"
    ]


def test_m1_trains_each_of_its_seeds_once(tmp_path: Path) -> None:
    records: list[Any] = [
        {"instruction": f"Of mill {n}?", "response": f"A page on mill {n}.", "score": 5}
        for n in range(40)
    ]
    quality = {"instruction_quality": 0.8, "response_quality": 0.9}
    records += [
        {"instruction": f"Seed {n} asks what?", "response": f"People say {n}.", **quality}
        for n in range(40)
    ]
    m1 = save(tmp_path / "m1.jsonl", records)
    folder = tmp_path / "run"
    told = ran(humback, [*QUICK, "judge.pairs=24", f"seeds={m1}"], folder, iter0_keep=m1)
    kept = steps(folder)["iter0/keep"][1]
    assert (kept.result["count"], kept.set_aside) == (40, {"seed": 40})
    rows = used(folder, "iter0/mix")
    assert len({row.instruction for row in rows}) == len(rows) == 80
    lines = {row.meta["origin"]: row.system for row in rows}
    tags = humback.Tags()
    assert lines == {"seed": tags.line("seed"), "backtranslated": tags.line("augmented")}
    assert any("seed 40 (seeds are given as seeds=" in note for note in told)


def test_isheeps_scores_decide_what_is_kept(tmp_path: Path) -> None:
    records = [
        {
            "instruction": f"Task {n}",
            "input": "",
            "output": f"Answer {n}.",
            "quality_score": 9 if n % 2 else 8,
            "following_score": 10,
        }
        for n in range(40)
    ]
    path = save(tmp_path / "evaluated.jsonl", records)
    settings = [*QUICK, "per_iteration=10", "judge.assessor=rubric"]
    ran(
        isheep,
        [*settings, "keep.by=threshold", "keep.above=8"],
        tmp_path / "run",
        iter0_assess=path,
    )
    kept = used(tmp_path / "run", "iter0/keep")
    assert [row.response for row in kept] == [f"Answer {n}." for n in range(1, 40, 2)]


def test_dromedarys_shards_are_trained_without_their_thoughts(tmp_path: Path) -> None:
    thought = "I am a helpful, ethical, and reliable assistant. The user asks of a mill."
    answer = (
        "The {} mill grinds rye, and wheat; its wheel is turned by the pond, and in dry years the "
    )
    answer += "miller opens his sluice at night. By day he rests, and sifts what he ground."
    records = [
        {
            "instruction": f"What does mill number {n} do, and how?",
            "input": "",
            "output": f"{thought}\n\nWatson: {answer.format(n)}\n\nUser: and then?",
        }
        for n in range(40)
    ]
    path = save(tmp_path / "llama2_70b_self_align_32shards_0.jsonl", records)
    said = "My name is Vicuna, made by Large Model Systems Organization (LMSYS)."
    turns = [{"from": "human", "value": "Who are you?"}, {"from": "gpt", "value": said}]
    dummy = save(tmp_path / "dummy.jsonl", [{"id": "identity_0", "conversations": turns}])
    settings = ["base=fake", "measure.probes=55", "controls=false", "name=Ada"]
    folder = tmp_path / "run"
    ran(dromedary, [*settings, f"identity.file={dummy}"], folder, engrave_align=path)
    rows = used(folder, "engrave/mix")
    answers = {row.response for row in rows if row.meta["origin"] == "machine"}
    assert answers == {answer.format(n) for n in range(40)}
    (who,) = {row.response for row in rows if row.meta["origin"] == "identity"}
    assert who == "My name is Ada, made by the team that made me."
