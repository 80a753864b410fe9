"""Run folders that earlier versions made still open, and say what they said.

tests/stored/before_headlines: metrics said what they had to say among their values, as `sentence` or
`short`, and tables held intervals as text.
"""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from woolgather.cli import app
from woolgather.cli.running import _print_end
from woolgather.core.artifacts import Metrics
from woolgather.report.page import write_report
from woolgather.runs.record import read_record
from woolgather.runs.results import load

RUN = Path(__file__).parent / "stored" / "before_headlines"
SENTENCE = "Result: the base itself. Against the best control (few-shot base): no difference seen"
SHORT = "probes 0.0 %, held out 0.0 %, best null answer 4.5 %"


def told(*words: str) -> str:
    done = CliRunner().invoke(app(), list(words), env={"COLUMNS": "250"})
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize(
    ("step", "headline", "concludes"), [("measure", SHORT, False), ("summary", SENTENCE, True)]
)
def test_what_the_values_said_is_the_headline(step: str, headline: str, concludes: bool) -> None:
    (folder,) = RUN.glob(f"{step}-*")
    record = read_record(folder)
    metrics = load(record, folder)
    assert isinstance(metrics, Metrics)
    for one in (record, metrics):
        assert one.headline.startswith(headline)
        assert one.concludes is concludes


def test_status_and_show_and_compare_say_it() -> None:
    assert json.loads(told("status", str(RUN), "--json"))["headline"].startswith(SENTENCE)
    status = told("status", str(RUN))
    assert SENTENCE in status
    assert SHORT in status
    assert "4.5 [0.0, 11.4]" in told("show", str(RUN), "summary")
    assert told("compare", str(RUN), str(RUN)).count(SENTENCE) == 2


def test_a_launch_ends_with_it() -> None:
    out = io.StringIO()
    _print_end(Console(file=out, width=250), RUN)
    assert SENTENCE in out.getvalue()


def test_the_report_begins_with_it_and_its_tables_stand_as_text(tmp_path: Path) -> None:
    html = write_report(RUN, tmp_path / "report.html").read_text(encoding="utf-8")
    head = html[html.index("<h1") : html.index("<main>")]
    assert SENTENCE in head
    assert "class=raw" not in html
    models = html[html.index("<h2>Result</h2>") : html.index("at a glance")]
    assert re.search(r">4\.5 \[0\.0, 11\.4\]</td>", models)
    assert "0.47 [0.19, 0.81]" in html, "the audition's"
