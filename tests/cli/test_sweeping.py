"""`sweep` as a user gives it: points share what they can, go on after a kill, and fail alone."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest
from typer.testing import CliRunner, Result

from woolgather.cli import app
from woolgather.core.errors import WoolgatherError
from woolgather.runs.record import current_steps, read_launches

ISHEEP = [
    "isheep", "--preset", "demo", "--engine", "fake", "--no-report", "iterations=2",
    "per_iteration=6", "judge.pairs=16", "measure.probes=0", "select_by=last", "measure.tasks=4",
    "embedding_map.points=3", "controls=false", "judge.assessor=rubric", "keep.by=threshold",
]  # fmt: skip
THRESHOLDS = ["-1", "0", "2", "4", "6", "8", "9"]
RECIPE = '''
"""Writes tasks, keeps the long ones and measures them; a threshold of 99 cannot be worked with."""
from collections.abc import Iterable, Iterator
from pathlib import Path
from woolgather import Example, Metrics, Model, Scope, op
from woolgather.core.errors import YieldError
from woolgather.core.intervals import mean_interval
from woolgather.core.options import Options
from woolgather.core.rows import set_aside
from woolgather.engines.base import Engine, Request, Sampling, ask

class Config(Options):
    base: str = "fake"
    above: float = 0
    n: int = 6
    words: tuple[str, ...] = ()
    """Not used."""

@op("write")
def write(engine: Engine, *, n: int, seed: int = 0) -> Iterator[Example]:
    requests = (Request(f"task {i}", Sampling(seed=seed + i)) for i in range(n))
    for completion in ask(engine, requests):
        yield Example(instruction=completion.text)

@op("keep_long")
def keep_long(rows: Iterable[Example], *, above: float) -> Iterator[Example]:
    for row in rows:
        yield row if len(row.instruction) > above else set_aside(row, "short")

@op("count")
def count(rows: Iterable[Example], *, above: float) -> Metrics:
    if above == 99:
        raise YieldError("Nothing is left. Lower `above`.")
    if above == 98:
        raise ZeroDivisionError("a fault in the recipe")
    lengths = [len(row.instruction) / 100 for row in rows]
    return Metrics({"length": mean_interval(lengths).json() if lengths else None, "rows": len(lengths)})

@op("tune")
def tune(rows: Iterable[Example], *, out: Path) -> Model:
    (out / "model").mkdir()
    (out / "model" / "weights").write_text(str(len(list(rows))))
    return Model(str(out / "model"))

def recipe(run: Scope, cfg: Config) -> Model:
    base = run.model("base", cfg.base)
    for t in range(2):
        it = run.scope(f"iter{t}")
        rows = it.step("write", write, it.engine(base), n=cfg.n)
        kept = it.step("keep", keep_long, rows, above=cfg.above)
        it.step("measure", count, kept, above=cfg.above)
    return run.step("result", tune, kept)
'''


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / f"own_recipe_{tmp_path.name[-1]}.py"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def sweep(own: Path, tmp_path: Path) -> Callable[..., Result]:
    """Sweeps a recipe of the user's own; errors of ours are raised."""

    def invoke(*words: str) -> Result:
        asked = ["sweep", str(own), "--engine", "fake", "--no-report"]
        result = CliRunner().invoke(app(), [*asked, "--dir", str(tmp_path / "s"), *words])
        if isinstance(result.exception, WoolgatherError):
            raise result.exception
        return result

    return invoke


@pytest.fixture(scope="module")
def isheep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven thresholds by two iterations, on the fake engine."""
    folder = tmp_path_factory.mktemp("sweep") / "s"
    thresholds = f"keep.above={','.join(THRESHOLDS)}"
    done = CliRunner().invoke(app(), ["sweep", *ISHEEP, thresholds, "--dir", str(folder)])
    assert done.exit_code == 0, done.output
    return folder


def states(folder: Path) -> dict[str, Counter[str]]:
    """How each point's steps came about, in its last launch."""
    return {
        path.parent.parent.name: Counter(e["state"] for e in read_launches(path.parent.parent)[-1].steps)
        for path in sorted(folder.glob("*/launches/0001.json"))
    }  # fmt: skip


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_steps_that_points_share_are_made_once(isheep: Path) -> None:
    made: Counter[tuple[str, str]] = Counter()
    wanted: set[tuple[str, str]] = set()
    for point in isheep.glob("*/run.json"):
        for entry in read_launches(point.parent)[-1].steps:
            key = (entry["step"], entry["fingerprint"])
            wanted.add(key)
            made[key] += entry["state"] == "ran"
    assert set(made.values()) == {1}
    assert set(made) == wanted
    per_step = Counter(step for step, _ in made)
    assert per_step["measure"] == per_step["shots"] == per_step["iter0/audition"] == 1
    assert per_step["iter0/synthesize"] == 2  # with rules and without
    assert per_step["iter0/assess"] == 3  # two that assess nothing, and one for all thresholds
    assert per_step["iter0/keep"] == 7


def test_the_two_lowest_thresholds_mean_what_they_mean_in_the_paper(isheep: Path) -> None:
    configs: Any = {v: read_launches(isheep / f"keep.above={v}")[-1].config
                    for v in THRESHOLDS}  # fmt: skip
    nothing, rules, lowest = configs["-1"], configs["0"], configs["2"]
    assert nothing["rules"]["use"] == nothing["synthesis"]["rules"]["use"] == []
    assert rules["rules"] == lowest["rules"]
    assert rules["synthesis"] == lowest["synthesis"]
    for config in (nothing, rules):
        assert (config["judge"]["assessor"], config["keep"]["by"]) == ("none", "all")
    assert (lowest["judge"]["assessor"], lowest["keep"]["by"]) == ("rubric", "threshold")
    counts = [int(row["iter0/keep: rows"]) for row in table(isheep)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == 6 > counts[-1]


def test_the_page_and_the_table_have_every_point(isheep: Path) -> None:
    rows = table(isheep)
    assert [row["keep.above"] for row in rows] == THRESHOLDS
    assert {row["status"] for row in rows} == {"finished"}
    for row in rows:
        low, value, high = (float(row[f"iter1/measure: heldout{e}"]) for e in (" low", "", " high"))
        assert low <= value <= high
    page = (isheep / "sweep.html").read_text()
    assert "7 of 7 points of isheep are finished." in page
    assert "keep.above=-1</code> stands for <code>rules.use=[none]" in page
    names = {path.name for path in (isheep / "figures").iterdir()}
    assert names == {"measure.svg", "measure.csv", "rows.svg", "rows.csv"}
    _, lines, whiskers = drawn(isheep, "measure")
    assert (len(lines), len(whiskers)) == (2, 14)  # a line per iteration


def drawn(folder: Path, name: str) -> tuple[set[str | None], list[Element], list[Element]]:
    """The texts of a figure, its lines, and its intervals."""
    root = ElementTree.parse(folder / "figures" / f"{name}.svg").getroot()
    texts = {element.text for element in root.iter() if element.tag.endswith("text")}
    lines = [element for element in root.iter() if "line s" in element.get("class", "")]
    thin = [element for element in lines if "whisker" in element.get("class", "")]
    return texts, [element for element in lines if element not in thin], thin


def test_a_second_setting_is_a_line_in_a_figure_for_each_iteration(
    sweep: Callable[..., Result], tmp_path: Path
) -> None:
    assert sweep("above=0,40,45", "n=6,9").exit_code == 0
    names = {path.stem for path in (tmp_path / "s" / "figures").glob("*.svg")}
    assert names == {"measure-iter0", "measure-iter1", "rows-iter0", "rows-iter1"}
    for name in names:
        texts, lines, whiskers = drawn(tmp_path / "s", name)
        assert {"above", "0", "40", "45", "n=6", "n=9"} <= texts
        assert len(lines) == 2
        assert len(whiskers) == (6 if name.startswith("measure") else 0)


def test_the_same_command_goes_on_and_more_values_join(
    sweep: Callable[..., Result], tmp_path: Path
) -> None:
    assert sweep("above=0,40").exit_code == 0
    assert states(tmp_path / "s") == {
        "above=0": {"ran": 7},
        "above=40": {"ran": 5, "remembered": 2},
    }
    again = sweep("above=0,40,45")
    assert "3 points: 5 steps made, 16 there already" in again.stdout
    assert states(tmp_path / "s")["above=40"] == {"remembered": 7}
    assert [row["above"] for row in table(tmp_path / "s")] == ["0", "40", "45"]


def test_a_larger_round_asks_only_for_what_is_new(
    sweep: Callable[..., Result], tmp_path: Path
) -> None:
    assert sweep("n=6,9").exit_code == 0
    calls = {r.step: r.calls for _, r in current_steps(tmp_path / "s" / "n=9")}
    assert calls["iter0/write"]["requests"] == 9
    assert calls["iter0/write"]["remembered"] == 6


def test_a_point_that_fails_does_not_end_the_others(
    sweep: Callable[..., Result], tmp_path: Path
) -> None:
    done = sweep("above=99,98,0")
    assert done.exit_code == 1
    assert "failed: point above=99: Nothing is left. Lower `above`." in done.stdout
    assert "failed: point above=98: a fault in the recipe" in done.stdout
    assert [row["status"] for row in table(tmp_path / "s")] == ["failed", "failed", "finished"]
    page = (tmp_path / "s" / "sweep.html").read_text()
    assert "1 of 3 points" in page
    assert "Nothing is left. Lower `above`." in page


def test_replicates_draw_anew_and_give_intervals_over_them(
    sweep: Callable[..., Result], tmp_path: Path
) -> None:
    done = sweep("above=0,40", "replicate=0,1,2")
    assert done.exit_code == 0
    folder = tmp_path / "s"
    firsts = {
        path.name: path.stat().st_ino
        for point in ("above=0,replicate=0", "above=0,replicate=1", "above=40,replicate=1")
        for path in (folder / point / "iter0").glob("write-*")
    }
    assert len(firsts) == 2  # one per replicate
    rows = table(folder)
    found = [float(r["iter0/measure: length"]) for r in rows if r["above"] == "0"]
    assert len(set(found)) == 3
    [line] = [row for row in figure(folder, "measure") if row[:2] == ["0", "iter0"]]
    value, low, high = map(float, line[2:])
    assert value == pytest.approx(sum(found) / 3)
    deviation = (sum((x - value) ** 2 for x in found) / 2) ** 0.5
    assert high - value == pytest.approx(4.303 * deviation / 3**0.5, rel=1e-3)
    assert low < value < high
    assert "Means over replicates" in (folder / "sweep.html").read_text()


def test_replicates_alone_have_a_mean_and_no_figure(
    sweep: Callable[..., Result], tmp_path: Path
) -> None:
    done = sweep("above=0", "replicate=0,1")
    assert done.exit_code == 0
    assert "Means over replicates" in (tmp_path / "s" / "sweep.html").read_text()
    assert not list((tmp_path / "s" / "figures").iterdir())


def figure(folder: Path, name: str) -> list[list[str]]:
    with (folder / "figures" / f"{name}.csv").open(newline="") as file:
        return list(csv.reader(file))[1:]


def test_another_measure_may_be_shown_and_an_unknown_one_is_told(
    sweep: Callable[..., Result], tmp_path: Path
) -> None:
    assert sweep("above=0,40", "--measure", "rows").exit_code == 0
    assert ["0", "iter0", "6", "", ""] in figure(tmp_path / "s", "measure")
    with pytest.raises(WoolgatherError, match=r"--measure gain: no point .* measure: length, "):
        sweep("above=0,40", "--measure", "gain")


def test_a_setting_that_changes_nothing_is_told(sweep: Callable[..., Result]) -> None:
    done = sweep("words=[a],[b]")
    assert "are made of the very same steps" in " ".join(done.stdout.split())


def test_a_plan_counts_what_the_sweep_then_makes(
    sweep: Callable[..., Result], tmp_path: Path
) -> None:
    planned = " ".join(sweep("above=0,40,45", "--plan").stdout.split())
    assert "3 points: 17 steps to run, where points alone would run 21; 0 remembered" in planned
    assert not (tmp_path / "s").exists()
    assert "3 points: 17 steps made, 4 there already" in sweep("above=0,40,45").stdout
    planned = " ".join(sweep("above=0,40,50", "--plan").stdout.split())
    assert "3 points: 5 steps to run, where points alone would run 5; 16 remembered" in planned


def test_bad_settings_name_the_point_before_anything_runs(
    sweep: Callable[..., Result], tmp_path: Path
) -> None:
    for words, said in (
        (["abov=1,2"], r"there is no setting 'abov'. Did you mean above\?"),
        (["above=1,x"], r"point above=x: above: .*number.*\(given: 'x'\)"),
        (["above=1,2", "n=6,few"], r"point above=1 n=few: n: "),
        (["above=1,2", "above=3"], r"above: given twice"),
    ):
        with pytest.raises(WoolgatherError, match=said):
            sweep(*words)
    assert not (tmp_path / "s").exists()


def test_one_sweep_at_a_time(sweep: Callable[..., Result], tmp_path: Path) -> None:
    from woolgather.runs.lock import RunLock

    (tmp_path / "s").mkdir()
    with (
        RunLock(tmp_path / "s"),
        pytest.raises(WoolgatherError, match=r"is in use by process \d+"),
    ):
        sweep("above=0,40")


def test_killed_it_goes_on_and_ends_with_the_same_data(
    own: Path, sweep: Callable[..., Result], tmp_path: Path
) -> None:
    command = [
        sys.executable, "-m", "woolgather", "sweep", str(own), "--engine", "fake", "--no-report",
        "above=0,40,45", "--dir", str(tmp_path / "k"),
    ]  # fmt: skip
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while child.poll() is None and not list(tmp_path.glob("k/above=40/iter0/keep-*")):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    if child.poll() is None:
        os.kill(child.pid, signal.SIGKILL)
    child.wait()
    done = CliRunner().invoke(app(), command[3:])
    assert done.exit_code == 0, done.output
    assert sweep("above=0,40,45").exit_code == 0
    for name in ("above=0", "above=40", "above=45"):
        found, whole = (
            {r.step: (r.fingerprint, r.digest) for _, r in current_steps(tmp_path / root / name)}
            for root in ("k", "s")
        )
        assert found == whole
    record = json.loads((tmp_path / "k" / "sweep.json").read_text())
    assert re.fullmatch(r"own_recipe_\w", record["recipe"])
