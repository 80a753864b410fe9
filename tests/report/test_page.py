"""The page: self-contained, escaped, complete, bounded, and clear about what it cannot read."""

import hashlib
import json
import os
import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from woolgather.core import views
from woolgather.core.errors import RunDirError
from woolgather.core.rows import Example
from woolgather.report.current import is_current
from woolgather.report.page import HERE, write_report
from woolgather.runs.record import (
    FORMAT,
    current_steps,
    launch_path,
    read_launches,
    write_launch,
    write_run,
)

BLOCKS = {"script", "style"}


class Page(HTMLParser):
    """What a browser would see: tags with attributes, text, and the contents of blocks."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.blocks: list[tuple[str, dict[str, str | None], str]] = []
        self.words: list[str] = []
        self._open: tuple[str, dict[str, str | None]] | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = (tag, dict(attrs)) if tag in BLOCKS else None

    def handle_endtag(self, tag: str) -> None:
        self._open = None

    def handle_data(self, data: str) -> None:
        if self._open:
            self.blocks.append((*self._open, data))
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def data(self) -> dict[str, Any]:
        return next(json.loads(text) for _, attrs, text in self.blocks if attrs.get("id") == "data")


@pytest.fixture(scope="module")
def html(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("page") / "report.html"
    assert write_report(run_dir, out) == out
    return out.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_nothing_is_fetched(page: Page) -> None:
    for tag, attrs in page.tags:
        assert tag not in {"link", "iframe", "img", "object", "embed", "base", "audio", "video"}
        for name in ("src", "srcset", "href", "xlink:href", "action", "data", "style", "poster"):
            if value := attrs.get(name):
                assert name == "href", (tag, name)
                assert value.startswith("#"), value
    for tag, _, text in page.blocks:
        if tag == "style":
            assert not re.search(r"url\(|@import|https?:", text)


def test_the_policy_allows_only_our_style_and_script(page: Page) -> None:
    (policy,) = [a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a]
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag, attrs, text in page.blocks:
        if attrs.get("type") != "application/json":
            digest = b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy, tag


def test_a_hostile_text_makes_no_tag_and_no_handler(page: Page) -> None:
    scripts = [attrs for tag, attrs in page.tags if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "data"}, {}]
    for tag, attrs in page.tags:
        assert not [name for name in attrs if name.startswith("on")], tag
    alarms = [attrs for _, attrs in page.tags if (attrs.get("class") or "").startswith("alarm ")]
    assert [tag for tag, _ in page.tags].count("b") == len(alarms) == 3 + 1 + 2 * 2
    assert "window.pwned = 1" in page.text
    assert "window.pwned" in json.dumps(page.data)


def test_no_markup_survives_in_the_embedded_rows(html: str) -> None:
    embedded = re.search(r'id="data">(.*?)</script>', html, re.S)
    assert embedded
    assert not re.search(r"[<>&\u2028\u2029]", embedded.group(1))
    texts = json.loads(embedded.group(1))["texts"]
    assert any(t.startswith("<script>") for t in texts)


def test_the_script_writes_texts_only_as_text() -> None:
    script = (HERE / "browser.js").read_text(encoding="utf-8")
    assert "textContent" in script
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", script)


def test_controls_and_direction_overrides_are_made_visible(html: str) -> None:
    assert "\x1b" not in html
    assert "\x00" not in html
    assert "\u202e" not in html
    assert "\u241b[31mred" in html
    assert "[U+202E]" in html


def test_the_verdict_stands_before_everything_else(page: Page) -> None:
    text = page.text
    assert text.index("Against the best control (random rows)") < text.index("Base model")
    assert "models/smollm2-135m" in text
    assert "41 min 30 s" in text
    assert "woolgather run isheep base=./models/smollm2-135m keep.above=7" in text


def test_alarms_come_first_and_gravest_first_and_once(page: Page) -> None:
    text = page.text
    error, warning, note = (
        text.index(t) for t in ("trained on 90 rows", "could not be read", "gives no log-prob")
    )
    assert error < warning < note < text.index("The loop at a glance")
    head = text[: text.index("The loop at a glance")]
    assert head.count("could not be read") == 1
    assert "iter0/assess , iter1/assess" in head.replace("assess,", "assess ,")


def test_the_loop_shows_rows_and_reasons(page: Page, run_dir: Path) -> None:
    text = page.text
    kept = [r for e, r in current_steps(run_dir) if e["step"] == "iter1/keep"]
    loop = text[text.index("The loop at a glance") : text.index("Outside the loop")]
    assert "iteration 0 iteration 1" in loop
    assert f"{kept[0].result['count']} −{sum(kept[0].set_aside.values())}" in loop
    assert "low quality" in loop


@pytest.mark.parametrize("kind", ["funnel", "histogram", "curve", "scatter", "table", "alarm"])
def test_every_kind_of_view_is_drawn(page: Page, kind: str) -> None:
    drawn = [a for t, a in page.tags if t == "figure" and kind in (a.get("class") or "").split()]
    assert drawn
    assert not [a for _, a in page.tags if a.get("class") == "raw"]


def test_intervals_become_whiskers(page: Page) -> None:
    whiskers = [a for t, a in page.tags if t == "svg" and a.get("class") == "whisk"]
    assert len(whiskers) >= 4 + 3 * 2 + 2 * 4


def test_measures_are_drawn_over_iterations_and_constants_are_told(page: Page) -> None:
    text = page.text
    part = text[text.index("Over iterations step measure") : text.index("Steps in detail Before")]
    assert "above null" in part
    assert "before iter0 iter1" in part
    assert "The same everywhere: null rate 0.101, distinct 2 0.71" in part
    assert "share of rows kept" in part
    assert "Scores: quality" in part


def test_changed_settings_are_marked(page: Page) -> None:
    changed = [a for _, a in page.tags if a.get("class") == "changed"]
    assert len(changed) == 1
    assert "keep.above: 8 -> 7" in page.text
    assert "sft.learning_rate 0.0002" in page.text


def test_rows_lead_back_to_the_seeds(page: Page) -> None:
    steps = {step["name"]: step["rows"] for step in page.data["steps"]}
    assert next(iter(steps)) == "inputs/seeds"
    assert len(page.data["steps"]) == 1 + 2 * 5 + 1
    (row, *_) = [r for r in steps["iter1/keep"] if "aside" not in r]
    (task,) = [r for r in steps["iter1/synthesize"] if r["id"] in row["parents"]]
    seeds = {r["id"] for r in steps["inputs/seeds"]}
    assert set(task["parents"]) <= seeds
    assert {name for name, _ in row["texts"]} >= {"instruction", "response"}
    assert [v[0] for v in row["verdicts"]] == ["following", "quality"]


def test_only_inputs_that_the_steps_name_are_shown(page: Page) -> None:
    names = [step["name"] for step in page.data["steps"]]
    assert names.count("inputs/seeds") == 1


def test_a_large_run_stays_small(
    build_run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = build_run(tmp_path / "big", iterations=1, size=900)
    few = write_report(folder, tmp_path / "few.html", max_rows=30).stat().st_size
    default = write_report(folder, tmp_path / "default.html").stat().st_size
    assert few < default < 1_500_000
    monkeypatch.setattr("woolgather.report.rows.TEXT_BUDGET", 20_000)
    tight = Page(write_report(folder, tmp_path / "tight.html").read_text(encoding="utf-8"))
    assert sum(map(len, tight.data["texts"])) < 80_000
    totals = {s["name"]: (s["total"], len(s["rows"])) for s in tight.data["steps"]}
    assert totals["iter0/synthesize"][0] == 900
    assert 0 < totals["iter0/synthesize"][1] <= 300


def test_a_run_without_launches(tmp_path: Path) -> None:
    write_run(tmp_path, {"recipe": "isheep", "title": "<i>empty</i>"})
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert "Nothing has run yet." in page.text
    assert "<i>empty</i>" in page.text
    assert not [tag for tag, _ in page.tags if tag == "i"]
    assert (tmp_path / "report.html").is_file()


def test_a_report_is_current_when_a_later_launch_remembered_everything(builder: Any) -> None:
    builder.step("iter0/synthesize", "dataset", {}, [], [Example(instruction="Say hello.")])
    builder.finish()
    (first,) = read_launches(builder.folder)
    first = replace(first, provenance={**first.provenance, "git": None})
    write_launch(first, builder.folder)
    write_report(builder.folder)
    assert not is_current(builder.folder)  # one launch alone wrote it, or did not
    known = [{**entry, "state": "remembered"} for entry in first.steps]
    again = replace(first, launch=2, steps=known)
    write_launch(again, builder.folder)
    assert is_current(builder.folder)
    write_launch(replace(again, launch=3), builder.folder)
    assert is_current(builder.folder)
    launch_path(builder.folder, 3).unlink()
    dirty = {**first.provenance, "git": {"commit": "0", "dirty": True}}
    for other in (
        replace(again, steps=first.steps),
        replace(again, status="failed"),
        replace(again, config={"iterations": 3}),
        replace(again, provenance={**first.provenance, "woolgather": "0.0.9"}),
    ):
        write_launch(other, builder.folder)
        assert not is_current(builder.folder)
    for launch in (first, again):
        write_launch(replace(launch, provenance=dirty), builder.folder)
    os.utime(builder.folder / "report.html", (1e10, 1e10))
    assert not is_current(builder.folder)
    for launch in (first, again):
        write_launch(launch, builder.folder)
    assert is_current(builder.folder)
    os.utime(builder.folder / "report.html", (1, 1))
    assert not is_current(builder.folder)


def test_an_unfinished_run_says_so_and_shows_what_there_is(builder: Any) -> None:
    builder.step("iter0/synthesize", "dataset", {}, [], [Example(instruction="Say hello.")])
    builder.finish("failed", "out of memory <b>here</b>")
    page = Page(write_report(builder.folder).read_text(encoding="utf-8"))
    assert "The run failed; what is finished is kept" in page.text
    assert "1 step is done. out of memory <b>here</b>" in page.text
    assert page.data["steps"][0]["rows"][0]["texts"][0][0] == "instruction"


def test_a_view_that_cannot_be_drawn_is_shown_as_its_data(builder: Any) -> None:
    unknown = replace(views.table("New", ["a"], [[1]]), kind="<b>constellation")  # type: ignore[arg-type]
    broken = replace(views.table("Broken", ["a"], [[1]]), data={"columns": None})
    empty = [views.curve("Nothing", {}), views.scatter("No points", {}), views.funnel("None", [])]
    builder.step("stop", "choice", {"value": 1, "why": ""}, [unknown, broken, *empty])
    builder.finish()
    page = Page(write_report(builder.folder).read_text(encoding="utf-8"))
    assert [a for _, a in page.tags if a.get("class") == "raw"]
    assert '{ "columns": null }' in page.text
    assert page.text.count("Nothing to draw") == 2


def test_unknown_numbers_are_dashes_not_zeros(builder: Any) -> None:
    shown = views.table("T", ["name", "value"], [["a", None], ["b", 0.25]])
    builder.step("measure", "metrics", {"values": {"x": None}}, [shown])
    builder.finish()
    text = Page(write_report(builder.folder).read_text(encoding="utf-8")).text
    assert "a – b 0.25" in text


def test_rows_that_are_gone_do_not_stop_the_report(builder: Any) -> None:
    builder.step("iter0/keep", "dataset", {}, [], [Example(instruction="Say hello.")])
    builder.finish()
    (shard,) = builder.folder.glob("iter0/keep-*/part-*.parquet")
    shard.write_bytes(b"not parquet")
    page = Page(write_report(builder.folder).read_text(encoding="utf-8"))
    assert "The loop at a glance" in page.text
    assert not [a for _, a in page.tags if a.get("id") == "data"]


def test_a_directory_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(
        RunDirError, match=r"not a run directory: it has no run\.json; name the dir"
    ):
        write_report(tmp_path)
    for name in ("keep.above=4", "keep.above=6"):  # a sweep, or a folder of runs
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text("{}")
    with pytest.raises(RunDirError, match=r"one of the 2 that are in it, such as .*keep\.above=4"):
        write_report(tmp_path)


@pytest.mark.parametrize("name", ["run.json", "launches/0001.json", "record.json"])
def test_a_newer_format_is_refused_by_name(builder: Any, name: str) -> None:
    builder.step("select", "choice", {"value": 1, "why": "so"})
    builder.finish()
    (path,) = builder.folder.rglob(name)
    value = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**value, "format": FORMAT + 1}), encoding="utf-8")
    with pytest.raises(RunDirError, match=f"{path.name} has format 2.*install the version"):
        write_report(builder.folder)
    assert not (builder.folder / "report.html").exists()
