"""Whatever a report draws is a file, too: a run of each method on the fake engine, walked through."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from types import ModuleType

import pytest
from dry import Dry

from woolgather.recipes import dromedary, humback, isheep, spin
from woolgather.report.collect import read_run_dir
from woolgather.report.figures.files import write_figures
from woolgather.report.page import write_report

SMALL = ("measure.probes=0", "select_by=last", "measure.tasks=3", "patience=null", "controls=false")
MAPPED = ("all-on-the-reference-s-axes", "over-iterations-step-portrait-place-first-component-mean")
KEPT = ("summary-length-of-kept-responses", "summary-diversity-of-kept-responses")
RATED = ["judge.assessor=rubric", "judge.pairs=12", "judge.probes=0"]
CASES: list[tuple[ModuleType, tuple[str, ...], tuple[str, ...]]] = [
    (
        isheep,
        ("iterations=2", "per_iteration=6", "keep.by=threshold", "keep.above=1", *RATED),
        (
            *MAPPED,
            *KEPT,
            "summary-share-of-generated-rows-rated-above-1-by-iteration",
            "summary-share-of-generated-rows-above-each-threshold",
        ),
    ),
    (
        humback,
        ("iterations=2", *RATED),
        (*MAPPED, *KEPT, "all-scores-beside-the-published-run-lenient-reading"),
    ),
    (dromedary, (), ("engrave-train-training-loss", "engrave-align-length-of-answers")),
    (
        spin,
        ("iterations=2",),
        ("all-margin", "all-margin-by-iteration", "all-log-probability-of-answers-by-iteration"),
    ),
]
_DRAWN = re.compile(r'<svg [^>]*class="chart"[^>]*>(.*?)</svg>', re.S)


@pytest.mark.parametrize(("recipe", "settings", "wanted"), CASES)
def test_every_drawing_of_the_page_is_a_file_with_its_numbers(
    recipe: ModuleType, settings: tuple[str, ...], wanted: tuple[str, ...], tmp_path: Path
) -> None:
    if recipe in (isheep, humback):
        reference = tmp_path / "reference.jsonl"
        rows = [{"instruction": f"Name {n} towns.", "response": f"Town {n}."} for n in range(9)]
        reference.write_text("".join(json.dumps(row) + "\n" for row in rows))
        settings = (*settings, f"embedding_map.reference={reference}")
    folder = Dry(recipe, ("base=fake", *SMALL)).finished(tmp_path / "run", *settings)

    files = write_figures(folder, tmp_path / "figures")
    assert len(files) == len(set(files))
    drawings = {path.stem: path.read_text("utf-8") for path in files if path.suffix == ".svg"}
    for name in drawings:
        with (tmp_path / "figures" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            assert len(list(csv.reader(file))) > 1, name
    assert set(wanted) <= set(drawings)

    page = write_report(folder).read_text("utf-8")
    drawn = set(_DRAWN.findall(page))
    # A file has a drawing within one of its own, whose first sign is left out here.
    written = {inner for text in drawings.values() for inner in _DRAWN.findall(text[1:])}
    assert len(drawn) > 5
    assert drawn <= written

    steps = read_run_dir(folder).steps
    funnels = [v for step in steps for v in step.views if v.kind == "funnel" and v.data["stages"]]
    assert funnels
    bars = [text for text in drawings.values() if 'role="img"' not in text]
    assert len(bars) == len(funnels), "a funnel is drawn as a table on the page"
