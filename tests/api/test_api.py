"""`import woolgather` as a library: the same runs as the command line, as Python objects."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import woolgather
from woolgather.api.recipe_options import describe_recipe
from woolgather.cli import app
from woolgather.core.errors import ConfigError, InputError

SMALL = {
    "iterations": 1, "per_iteration": 10, "judge.pairs": 24, "measure": {"probes": 22},
    "controls": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> woolgather.Result:
    folder = tmp_path_factory.mktemp("api") / "run"
    return woolgather.run("isheep", preset="demo", engine="fake", dir=folder, settings=SMALL)


def test_a_run_returns_its_model_measures_rows_and_report(result: woolgather.Result) -> None:
    assert result.model is not None
    assert (result.model / "fake.json").is_file()
    assert {"measure", "iter0/measure", "summary"} <= result.measures.keys()
    assert 0 <= result.measures["measure"]["probes"]["value"] <= 1
    assert result.headline.startswith("Result: ")
    assert result.report() == result.dir.resolve() / "report.html"
    kept = result.rows("iter0/keep")
    rows = list(kept)
    assert len(rows) == len(kept) > 0
    assert all(isinstance(row, woolgather.Example) and row.set_aside is None for row in rows)
    assert len(list(kept.all())) >= len(rows)


def test_rows_become_a_frame_and_a_data_set(result: woolgather.Result) -> None:
    kept = result.rows("iter0/keep")
    frame = kept.to_pandas()
    assert list(frame["instruction"]) == [row.instruction for row in kept]
    made = kept.to_dataset()
    assert made.num_rows == len(kept)
    assert made[0]["response"] == next(iter(kept)).response


def test_the_command_line_goes_on_with_a_run_from_python(result: woolgather.Result) -> None:
    words = ["isheep", "--preset", "demo", "--engine", "fake", "--dir", str(result.dir)]
    words += ["iterations=1", "per_iteration=10", "judge.pairs=24", "measure.probes=22"]
    done = CliRunner().invoke(app(), ["plan", *words, "controls=false", "--json"])
    total = json.loads(done.stdout)["total"]
    assert (total["new"], total["remembered"]) == (0, len(json.loads(done.stdout)["steps"]))


def test_a_plan_is_a_table(result: woolgather.Result) -> None:
    same = {"preset": "demo", "engine": "fake", "dir": result.dir}
    planned = woolgather.plan("isheep", **same, settings=SMALL, keep={"fraction": 0.25})
    told = {line["step"]: line for line in planned}
    assert told["iter0/keep"]["why"] == "new because args.rule.fraction: 0.5 -> 0.25"
    assert told["iter0/synthesize"]["state"] == "remembered"
    assert (
        len(planned.to_pandas())
        == len(planned)
        == planned.total["new"] + planned.total["remembered"]
    )
    assert str(planned).splitlines()[0].split()[:2] == [planned.steps[0]["step"], "remembered"]
    assert "<td>iter0/keep</td>" in planned._repr_html_()


def test_a_notebook_shows_the_sentence_and_the_models(result: woolgather.Result) -> None:
    shown = result._repr_html_()
    assert shown.startswith("<p>Result: ")
    assert "<th>model</th>" in shown
    assert repr(result).endswith(result.headline)


def test_a_recipe_may_be_a_module_or_a_file(tmp_path: Path) -> None:
    from woolgather.recipes import spin

    assert len(woolgather.plan(spin, preset="demo", engine="fake", dir=tmp_path / "a")) > 5
    own = tmp_path / "own_recipe.py"
    own.write_text(
        "from woolgather.recipes.settings import Common\n"
        "class Config(Common):\n    pass\n"
        "def recipe(run, cfg):\n    return run.model('base', cfg.base)\n"
    )
    assert len(woolgather.plan(str(own), engine="fake", dir=tmp_path / "b")) == 0


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"itertions": 3}, "there is no setting 'itertions'. Did you mean iterations?"),
        ({"sft.learning_rat": 3}, "Did you mean sft.learning_rate?"),
        ({"engine": "sglang"}, "choose transformers, vllm, openai or fake"),
    ],
)
def test_a_mistake_is_one_clear_error(more: dict[str, object], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words.replace("?", r"\?").replace(".", r"\.")):
        woolgather.plan("isheep", dir=tmp_path, **{"engine": "fake", **more})


def test_rows_of_a_step_that_is_not_there_or_has_none(result: woolgather.Result) -> None:
    with pytest.raises(InputError, match="iter0/keep"):
        result.rows("iter0/kep")
    with pytest.raises(InputError, match="step summary made a metrics, no rows"):
        result.rows("summary")


def test_importing_it_loads_nothing_heavy_and_names_what_there_is() -> None:
    code = (
        "import sys, woolgather\n"
        "heavy = {'torch', 'pyarrow', 'rich', 'pydantic', 'numpy', 'transformers'} & set(sys.modules)\n"
        "print(sorted(heavy), sorted(woolgather.__all__) == sorted(n for n in woolgather.__all__ "
        "if getattr(woolgather, n)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "True"]
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        woolgather.nothing  # noqa: B018


def test_a_setting_has_its_meaning_from_the_class_that_it_comes_from() -> None:
    meanings = {o["option"]: o["meaning"] for o in describe_recipe("isheep")[1]}
    assert meanings["sft.epochs"] == "Passes over the rows."
    assert meanings["history"].startswith("Rows that training sees:")
