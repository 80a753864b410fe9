"""What each recipe leaves out when a step is given, and how it ends with no rows of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dry import Dry, steps

from woolgather.core.errors import InputError
from woolgather.recipes import dromedary, humback, isheep

SMALL = ["base=fake", "measure.probes=55"]
AUDITION = ["judge.pairs=24"]
ISHEEP = Dry(isheep, [*SMALL, *AUDITION, "iterations=2", "per_iteration=12"])
HUMBACK = Dry(humback, [*SMALL, *AUDITION, "iterations=1"])
DROMEDARY = Dry(dromedary, SMALL)
NEITHER = "controls=false"


@pytest.fixture
def rows(tmp_path: Path) -> str:
    path = tmp_path / "rows.jsonl"
    lines = [
        {"instruction": f"Say what number {n} is.", "response": f"It is the number {n}."}
        for n in range(20)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


SPARED = [  # probes are needed all the same: rows that are given are compared with them, too
    (ISHEEP, "iter0/respond", (), {"iter0/synthesize"}),
    (ISHEEP, "iter0/keep", (), {"iter0/audition", "iter0/assess"}),
    (
        ISHEEP, "iter0/keep", (NEITHER,),
        {"iter0/audition", "iter0/assess", "iter0/synthesize", "iter0/respond", "iter0/rules"},
    ),
    (
        HUMBACK, "backtranslate", (),
        {"backward/reverse", "backward/mix", "backward/train", "backward/train-merge", "texts"},
    ),
    (HUMBACK, "iter0/keep", (), {"iter0/audition", "iter0/assess", "iter0/read"}),
    (DROMEDARY, "engrave/align", (NEITHER, "variant=v2"), {"prompts/pool"}),
    (DROMEDARY, "engrave/rules", (NEITHER, "variant=v2"), {"prompts/pool", "engrave/align"}),
    (DROMEDARY, "engrave/rules", ("variant=v2",), {"engrave/align"}),
]  # fmt: skip


@pytest.mark.parametrize(("dry", "step", "settings", "spared"), SPARED)
def test_what_only_the_given_step_needs_is_not_needed(
    tmp_path: Path, rows: str, dry: Dry, step: str, settings: tuple[str, ...], spared: set[str]
) -> None:
    plan = dry.planned(tmp_path / "run", *settings, given={step: rows})
    assert plan[step] == ("given", rows)
    found = {name for name, (state, _) in plan.items() if state == "not needed"}
    assert found == spared & set(plan)
    assert found


def test_a_run_does_without_it(tmp_path: Path, rows: str) -> None:
    done = steps(HUMBACK.finished(tmp_path / "run", NEITHER, given={"backtranslate": rows}))
    assert not {"texts", "backward/train"} & set(done)
    assert {"backtranslate", "forward/train", "iter0/train", "result"} <= set(done)


UNRATED = ("judge.assessor=rubric", "keep.by=threshold")


@pytest.mark.parametrize(
    ("dry", "step", "settings", "said"),
    [
        (ISHEEP, "iter0/assess", UNRATED, "no row has a verdict, which iter0/keep needs"),
        (HUMBACK, "iter0/assess", UNRATED, "no row has a verdict, which iter0/read needs"),
        (ISHEEP, "iter0/respond", (), "no row has a response, which iter0/rules needs"),
        (HUMBACK, "backtranslate", (), "no row has a response, which iter0/assess needs"),
        (DROMEDARY, "engrave/align", (), "no row has a response, which engrave/rules needs"),
    ],
)
def test_given_rows_that_lack_what_the_next_step_needs(
    tmp_path: Path, rows: str, dry: Dry, step: str, settings: tuple[str, ...], said: str
) -> None:
    if "response" in said:
        lines = [json.loads(line) for line in Path(rows).read_text().splitlines()]
        bare = [json.dumps({"instruction": line["instruction"]}) for line in lines]
        Path(rows).write_text("\n".join(bare))
    with pytest.raises(InputError) as found:
        dry.planned(tmp_path / "run", *settings, given={step: rows})
    assert str(found.value).startswith(f"--given {step}={rows}: {said}")


def test_a_training_on_the_seeds_alone_is_said_first(tmp_path: Path) -> None:
    # All rows are rated, and none is good enough.
    settings = (
        "iterations=1",
        "judge.assessor=rubric",
        "keep.by=threshold",
        "keep.above=99",
        NEITHER,
    )
    done = steps(ISHEEP.finished(tmp_path / "run", *settings))
    assert done["iter0/keep"][1].result["count"] == 0
    said = (
        "iter0/mix: No row was kept before. The model is trained on the seeds or other given rows"
    )
    assert done["summary"][1].headline.startswith(said)
    assert "Result: " in done["summary"][1].headline
    assert any(text.startswith(said.partition(": ")[2]) for text in done["iter0/mix"][1].warnings)


def test_a_training_on_identity_rows_alone_is_said_first(tmp_path: Path, rows: str) -> None:
    lines = [json.loads(line) for line in Path(rows).read_text().splitlines()]
    echoes = [json.dumps({**line, "response": line["instruction"]}) for line in lines]
    Path(rows).write_text("\n".join(echoes))
    settings = ("variant=v2", "name=Ada", "judge.assessor=none", NEITHER)
    given = {"engrave/align": rows}
    done = steps(DROMEDARY.finished(tmp_path / "run", *settings, given=given))
    said = done["summary"][1].headline
    assert said.startswith(
        "engrave/mix: No row was kept before. The model is trained on the seeds or "
    )
