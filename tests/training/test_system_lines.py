"""What instruction backtranslation asks of training: its schedule, and lines in a merged template."""

import json
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

from woolgather.core.artifacts import Model, TemplateVariables
from woolgather.core.rows import Example
from woolgather.ops.train.sft import encode, write_tokens
from woolgather.prompting.messages import Message
from woolgather.prompting.renderer import Renderer
from woolgather.prompting.template_choice import load_chat_template
from woolgather.recipes import config, humback
from woolgather.training.checkpoints import JOB
from woolgather.training.job import CURVES, RESULT, MergeOptions, SftOptions, TrainJob
from woolgather.training.job_file import Execution, write_job
from woolgather.training.worker import program

ROWS = [Example(instruction=f"say {n}", response="the lazy dog " * (1 + n % 4)) for n in range(16)]
USER = (Message("user", "say the list"),)
LINES = "Reply kindly.\nKnow the web."


def run(
    options: SftOptions | MergeOptions,
    start: Path,
    out: Path,
    variables: TemplateVariables | None = None,
    template: str = "",
) -> int:
    (out / "data").mkdir(parents=True)
    model = Model(str(start)).with_variables(variables or {}).with_template(template)
    write_tokens(encode(ROWS, model), out / "data" / "train")
    job = TrainJob(options, model, out / "data", seed=1)
    write_job(out / JOB, job, digest="d", execution=Execution(cpu=True))
    return program.main([str(out / JOB)])


def test_the_papers_schedule_ends_at_its_floor_and_is_linear(tiny_model, tmp_path):
    paper = config.build(humback.Config, "humback", preset="paper", overrides=["base=fake"])
    update = {"max_updates": 8, "batch_size": 2, "max_length": 256}
    options = paper.sft.model_copy(update=update)
    assert run(options, tiny_model, tmp_path / "out") == 0
    rates = pq.read_table(tmp_path / "out" / CURVES)["learning_rate"].to_pylist()
    assert len(rates) == 8
    steps = [a - b for a, b in pairwise(rates)]
    assert steps == pytest.approx([1e-6 / 8] * 7, rel=1e-3)
    assert 9e-6 <= rates[-1] < rates[0] <= 1e-5
    assert rates[-1] < 9.2e-6


def test_a_chosen_template_is_trained_with_saved_and_told(tiny_model, tmp_path):
    template = load_chat_template("spin-instruction").text
    options = SftOptions(epochs=1, batch_size=8, max_length=256)
    assert run(options, tiny_model, tmp_path / "a", template=template) == 0
    trained = pq.read_table(tmp_path / "a" / "data" / "train.parquet")["input_ids"].to_pylist()
    told = json.loads((tmp_path / "a" / RESULT).read_text())["chat_template"]
    assert told == "woolgather's template spin-instruction"
    assert run(MergeOptions(card="# A card\n"), tmp_path / "a" / "model", tmp_path / "b") == 0
    folder = tmp_path / "b" / "model"
    assert (folder / "README.md").read_text() == f"# A card\n\nChat template: {told}.\n"
    theirs = AutoTokenizer.from_pretrained(folder)
    rows = [{"role": "user", "content": ROWS[0].instruction}]
    asked = theirs.apply_chat_template(rows, add_generation_prompt=True, tokenize=False)
    assert asked == "### Instruction: say 0\n\n### Response: "
    assert theirs.decode(trained[0]).startswith(asked)


@pytest.mark.parametrize("twice", [False, True], ids=["merged", "and copied as the result"])
def test_a_merged_model_is_asked_with_its_lines(tiny_model, tmp_path, twice):
    assert run(MergeOptions(system=LINES), tiny_model, tmp_path / "a") == 0
    folder = tmp_path / "a" / "model"
    if twice:
        assert run(MergeOptions(card="# A card"), folder, tmp_path / "b") == 0
        folder = tmp_path / "b" / "model"
    wanted = Renderer(tiny_model).prompt_text((Message("system", LINES), *USER))
    assert Renderer(folder).prompt_text(USER) == wanted
    rows = [{"role": "user", "content": "say the list"}]
    theirs = AutoTokenizer.from_pretrained(folder).apply_chat_template(
        rows, add_generation_prompt=True, tokenize=False
    )
    assert theirs == wanted


@pytest.mark.parametrize("options", [
    MergeOptions(), SftOptions(max_updates=1, batch_size=2, max_length=256)
], ids=["merged", "trained"])  # fmt: skip
def test_template_variables_stay_with_what_is_made_of_a_model(tiny_model, tmp_path, options):
    assert run(options, tiny_model, tmp_path / "a", {"enable_thinking": False}) == 0
    made = Renderer(tmp_path / "a" / "model")
    assert made.template == "{%- set enable_thinking = false -%}" + Renderer(tiny_model).template
    assert made.prompt_text(USER) == Renderer(tiny_model).prompt_text(USER)
