"""Preference training in the launched program: the loss is the paper's, the opponent is the one named.

The formula of SPIN (arXiv 2401.01335): l(beta * [(log p(y|x) - log p_t(y|x)) - (log p(y'|x) -
log p_t(y'|x))]), log-probabilities summed over the tokens of an answer.
"""

import json
import math
import shutil
from pathlib import Path

import peft
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import transformers
import trl
from trl.trainer.utils import FusedCausalLMOutput, add_fused_lm_head

from woolgather.core.artifacts import Model
from woolgather.core.storage import digest
from woolgather.training.checkpoints import CHECKPOINTS, ERROR, JOB, opponent_dir
from woolgather.training.job import (
    CURVES,
    MARKER,
    PAIR_NUMBERS,
    RESULT,
    DpoOptions,
    LoraOptions,
    TrainJob,
)
from woolgather.training.job_file import Execution, read_job, write_job
from woolgather.training.worker import dpo, program
from woolgather.training.worker.setup import prepare_training, read_data

END = 2
PAIRS = [
    {
        "prompt_ids": [10 + n, 20, 30 + n],
        "chosen_ids": [*range(40, 43 + n % 5), END],
        "rejected_ids": [*range(60 + n, 62 + n + n % 3), END],
    }
    for n in range(10)
]
LORA = LoraOptions(r=4, alpha=8.0, dropout=0.0)
OPTIONS = DpoOptions(
    lora=LORA, learning_rate=1e-3, batch_size=4, warmup_updates=0, precision="float32"
)


pytestmark = pytest.mark.usefixtures("few_threads")


def job_in(
    out: Path, start: Path, *, micro=0, reference="start", resume=None, every=2.0, **changes
):
    (out / "data").mkdir(parents=True, exist_ok=True)
    ids = pa.list_(pa.int32())
    shape = pa.schema([(name, ids) for name in dpo.COLUMNS])
    pq.write_table(pa.Table.from_pylist(PAIRS, schema=shape), out / "data" / "train.parquet")
    options = DpoOptions.model_validate({**OPTIONS.model_dump(), **changes})
    opponent = Model(str(start), digest=digest(start)) if reference == "start" else reference
    write_job(
        out / JOB,
        TrainJob(options, Model(str(start)), out / "data", 1, opponent),
        digest="d",
        execution=Execution(cpu=True, micro_batch_size=micro, checkpoint_every=every),
        resume=resume,
    )


def run(out: Path, start: Path, **how) -> int:
    job_in(out, start, **how)
    return program.main([str(out / JOB)])


def trainer_for(out: Path, start: Path, **how):
    job_in(out, start, **how)
    job = read_job(out / JOB)
    rows, held = read_data(job, dpo.COLUMNS)
    setup = prepare_training(
        job,
        job.options,
        dpo.lengths_of(rows),
        lambda settings: dpo.make_args(job.options, settings),
        validated=held is not None,
    )
    return dpo.trainer_of(setup, job.reference, rows, held)


def curves(out: Path) -> list[dict]:
    return pq.read_table(out / CURVES).to_pylist()


def error(out: Path) -> dict:
    return json.loads((out / ERROR).read_text())


def the_loss(kind: str, beta: float, real, real_ref, generated, generated_ref) -> float:
    """The paper's formula, in plain numbers."""
    margins = [
        beta * ((a - b) - (c - d))
        for a, b, c, d in zip(real, real_ref, generated, generated_ref, strict=True)
    ]
    if kind == "hinge":
        return sum(max(0.0, 1 - m) for m in margins) / len(margins)
    return sum(math.log(1 + math.exp(-m)) for m in margins) / len(margins)


def logp(model, prompt: list[int], answer: list[int]) -> float:
    with torch.no_grad():
        logits = model(torch.tensor([prompt + answer])).logits[0].double()
    scores = torch.log_softmax(logits, -1)
    return sum(scores[len(prompt) - 1 + i, token].item() for i, token in enumerate(answer))


KINDS = pytest.mark.parametrize("kind", ["logistic", "hinge"])
WEIGHTS = pytest.mark.parametrize("lora", [LORA, None], ids=["lora", "full"])


@KINDS
@pytest.mark.parametrize("beta", [0.1, 5.0])
def test_the_loss_is_the_formula_on_random_log_probabilities(tiny_model, tmp_path, kind, beta):
    trainer = trainer_for(tmp_path, tiny_model, lora=None, loss=kind, beta=beta)
    batch = trainer.data_collator(PAIRS[:6])
    mask = batch["completion_mask"][:, 1:].bool()
    generator = torch.Generator().manual_seed(7)

    def random_model():
        drawn = -4 * torch.rand(mask.shape, generator=generator, dtype=torch.float64)
        drawn = drawn.masked_fill(~mask, 0)
        blank = torch.zeros_like(drawn)

        def model(**_):
            return FusedCausalLMOutput(
                log_probs=drawn, entropy=blank, mean_logits=blank, is_top1=blank.bool()
            )

        return model, drawn.sum(1).tolist()

    policy, of_policy = random_model()
    trainer.ref_model, of_opponent = random_model()
    trainer.precompute_ref_logps = False
    loss = trainer.compute_loss(policy, batch).item()
    half = len(of_policy) // 2
    expected = the_loss(
        kind, beta, of_policy[:half], of_opponent[:half], of_policy[half:], of_opponent[half:]
    )
    assert loss == pytest.approx(expected, rel=1e-6)


@KINDS
@WEIGHTS
def test_the_loss_is_the_formula_on_a_model(tiny_model, tmp_path, kind, lora):
    """A policy that has moved away from the opponent; by hand from transformers' own logits."""
    trainer = trainer_for(tmp_path / "t", tiny_model, lora=lora and lora.model_dump(), loss=kind)
    trainer.ask_opponent()
    torch.manual_seed(3)
    for parameter in trainer.model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.02 * torch.randn_like(parameter)
    policy = tmp_path / "policy"
    trainer.model.save_pretrained(policy)
    loader = transformers.AutoModelForCausalLM if lora is None else peft.AutoPeftModelForCausalLM
    moved, opponent = (
        loader.from_pretrained(policy),
        transformers.AutoModelForCausalLM.from_pretrained(tiny_model),
    )
    sums = [
        [logp(model, p["prompt_ids"], p[side]) for p in PAIRS]
        for side in ("chosen_ids", "rejected_ids")
        for model in (moved, opponent)
    ]
    assert max(abs(a - b) for a, b in zip(sums[0], sums[1], strict=True)) > 0.1
    trainer.model.eval()
    loss = trainer.compute_loss(
        trainer.model, trainer.data_collator(list(trainer.train_dataset))
    ).item()
    assert loss == pytest.approx(the_loss(kind, 0.1, *sums), rel=1e-4)


@KINDS
@WEIGHTS
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_at_the_first_update_nothing_is_gained_yet(tiny_model, tmp_path, kind, lora, precision):
    lora = lora and lora.model_dump()
    assert run(tmp_path, tiny_model, lora=lora, loss=kind, precision=precision) == 0
    first, *rest = curves(tmp_path)
    assert first["loss"] == pytest.approx(math.log(2) if kind == "logistic" else 1, abs=1e-6)
    assert (first["margin"], first["real_gain"], first["accuracy"]) == (0, 0, 0)
    assert all(row[name] is not None for row in rest for name in PAIR_NUMBERS[:-1])
    told = json.loads((tmp_path / RESULT).read_text())
    assert (told["margin_at_start"], told["updates"], told["rows"]) == (0, 3, 10)
    assert told["tokens"] == sum(
        2 * len(p["prompt_ids"]) + len(p["chosen_ids"]) + len(p["rejected_ids"]) for p in PAIRS
    )


@WEIGHTS
def test_real_answers_gain_on_generated_ones(tiny_model, tmp_path, lora):
    changes = {"lora": lora and lora.model_dump(), "learning_rate": 3e-3, "epochs": 8}
    assert run(tmp_path, tiny_model, **changes) == 0
    line = curves(tmp_path)
    last = line[-1]
    assert last["margin"] > 0.5
    assert last["accuracy"] == 1
    assert last["loss"] < line[0]["loss"]
    assert last["margin"] == pytest.approx(0.1 * (last["real_gain"] - last["generated_gain"]))
    model = tmp_path / "model"
    assert (model / "adapter_config.json").exists() == (lora is not None)


@pytest.mark.parametrize("nll", [0.0, 0.5])
def test_pairs_at_once_do_not_change_what_is_learned(tiny_model, tmp_path, nll):
    """Ten pairs in updates of four: the last is of two, and pairs weigh the same in all."""
    for micro in (1, 2, 4):
        out = tmp_path / str(micro)
        assert run(out, tiny_model, micro=micro, nll_weight=nll, learning_rate=1e-2) == 0
    one, two, four = (curves(tmp_path / n) for n in "124")
    assert len(one) == 3
    for line in (two, four):
        assert [r["loss"] for r in line] == pytest.approx([r["loss"] for r in one], rel=1e-4)


def test_the_anchor_is_the_mean_over_tokens_of_real_answers(tiny_model, tmp_path):
    assert run(tmp_path, tiny_model, nll_weight=0.5, batch_size=10) == 0
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_model)
    per_pair = [
        -logp(model, p["prompt_ids"], p["chosen_ids"]) / len(p["chosen_ids"]) for p in PAIRS
    ]
    expected = math.log(2) + 0.5 * sum(per_pair) / len(per_pair)
    assert curves(tmp_path)[0]["loss"] == pytest.approx(expected, rel=1e-5)


def test_token_ids_are_taken_as_they_are(tiny_model, tmp_path):
    """No second tokenization, no second end token, nothing cut."""
    trainer = trainer_for(tmp_path, tiny_model)
    assert [dict(row) for row in trainer.train_dataset] == PAIRS
    batch = trainer.data_collator(PAIRS[:1])
    assert batch["input_ids"][0].tolist()[-1] == END
    assert batch["input_ids"][0].tolist().count(END) == 1
    assert batch["completion_mask"][0].tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert trainer.args.max_length is None


def test_a_wrong_opponent_is_refused(tiny_model, tmp_path):
    changed = tmp_path / "opponent"
    shutil.copytree(tiny_model, changed)
    named = Model(str(changed), digest=digest(changed))
    model = transformers.AutoModelForCausalLM.from_pretrained(changed)
    model.lm_head.weight.data[5, 5] += 1e-3
    model.save_pretrained(changed)
    assert run(tmp_path / "full", tiny_model, reference=named, lora=None) == 1
    assert error(tmp_path / "full")["kind"] == "mistake"
    message = error(tmp_path / "full")["message"]
    assert "does not hold the weights that the opponent of this training names" in message
    assert "--redo" in message
    assert not (tmp_path / "full" / RESULT).exists()
    assert run(tmp_path / "start", changed, reference=named) == 1


def asked_at_each_update(self, *args, **kwargs):
    """PairTrainer.train with a live opponent, as a second model where all weights are trained."""
    if not isinstance(self.model, peft.PeftModel):
        opponent = transformers.AutoModelForCausalLM.from_pretrained(self._job.reference.path)
        add_fused_lm_head(opponent)
        self.ref_model = self.accelerator.prepare_model(opponent, evaluation_mode=True)
    self.precompute_ref_logps = False
    return trl.DPOTrainer.train(self, *args, **kwargs)


@WEIGHTS
@pytest.mark.parametrize(
    ("precision", "tolerance"), [("float32", 1e-6), ("bfloat16", 1e-3)], ids=["f32", "bf16"]
)
def test_an_opponent_asked_once_is_the_live_one(
    tiny_model, tmp_path, monkeypatch, lora, precision, tolerance
):
    """Three epochs, of which two have other batches than the opponent saw; each sequence a row of its
    own, as the live one reads them."""
    monkeypatch.setattr(dpo, "takes_masks", lambda config: False)
    changes = {"lora": lora and lora.model_dump(), "precision": precision, "epochs": 3}
    changes |= {"learning_rate": 3e-3, "micro": 2}
    assert run(tmp_path / "once", tiny_model, **changes) == 0
    with monkeypatch.context() as patched:
        patched.setattr(dpo.PairTrainer, "train", asked_at_each_update)
        assert run(tmp_path / "live", tiny_model, **changes) == 0
    once, live = curves(tmp_path / "once"), curves(tmp_path / "live")
    assert [row["loss"] for row in once[:3]] == [row["loss"] for row in live[:3]]
    assert len(once) == len(live) == 9
    for name in ("loss", "real_gain", "margin"):
        assert [row[name] for row in once] == pytest.approx(
            [row[name] for row in live], rel=tolerance, abs=tolerance
        )


@WEIGHTS
def test_another_attempt_does_not_ask_the_opponent_again(tiny_model, tmp_path, monkeypatch, lora):
    lora = lora and lora.model_dump()
    other = tmp_path / "other"
    shutil.copytree(tiny_model, other)
    named = Model(str(tiny_model if lora else other), digest=digest(other))
    first, second = tmp_path / "first", tmp_path / "second"
    assert run(first, tiny_model, reference=named, lora=lora) == 0
    shutil.copytree(opponent_dir(first), opponent_dir(second))
    monkeypatch.setattr(dpo.PairTrainer, "compute_ref_log_probs", None)
    monkeypatch.setattr(dpo, "weights_dtype", None)
    assert run(second, tiny_model, reference=named, lora=lora) == 0
    assert [r["loss"] for r in curves(first)] == [r["loss"] for r in curves(second)]
    (opponent_dir(second) / MARKER).unlink()
    assert run(tmp_path / "third", tiny_model, reference=named, lora=lora) == 1


def test_another_opponent_than_the_start_is_heard_and_let_go(tiny_model, tmp_path):
    """The alarm of `dpo` goes by this margin: what is not the start shows at the first update."""
    other = tmp_path / "other"
    shutil.copytree(tiny_model, other)
    model = transformers.AutoModelForCausalLM.from_pretrained(other)
    torch.manual_seed(5)
    for parameter in model.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    model.save_pretrained(other)
    opponent = transformers.AutoModelForCausalLM.from_pretrained(other)
    start = transformers.AutoModelForCausalLM.from_pretrained(tiny_model)
    named = Model(str(other), digest=digest(other))
    assert run(tmp_path / "out", tiny_model, reference=named, lora=None, batch_size=10) == 0
    expected = 0.0
    for pair in PAIRS:
        for side, sign in (("chosen_ids", 1), ("rejected_ids", -1)):
            ids = pair["prompt_ids"], pair[side]
            expected += sign * (logp(start, *ids) - logp(opponent, *ids)) * 0.1 / len(PAIRS)
    found = json.loads((tmp_path / "out" / RESULT).read_text())["margin_at_start"]
    assert abs(expected) > 0.01
    assert found == pytest.approx(expected, rel=1e-3)


def test_below_an_adapter_there_is_only_one_opponent(tiny_model, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(tiny_model, other)
    named = Model(str(other), digest=digest(other))
    assert run(tmp_path / "lora", tiny_model, reference=named) == 1
    assert (
        "with lora the opponent is the model below the adapter"
        in (error(tmp_path / "lora")["message"])
    )
    assert run(tmp_path / "full", tiny_model, reference=named, lora=None) == 0
    assert run(tmp_path / "none", tiny_model, reference=None, lora=None) == 1
    assert "needs a reference" in error(tmp_path / "none")["message"]


@WEIGHTS
def test_it_goes_on_from_a_checkpoint_as_if_nothing_had_happened(tiny_model, tmp_path, lora):
    lora = lora and lora.model_dump()
    whole, half = tmp_path / "whole", tmp_path / "half"
    changes = {"lora": lora, "epochs": 3, "learning_rate": 1e-2}
    assert run(whole, tiny_model, every=0, **changes) == 0
    point = whole / CHECKPOINTS / "checkpoint-8"
    assert point.is_dir()
    target = half / CHECKPOINTS / point.name
    shutil.copytree(point, target)
    assert run(half, tiny_model, resume=str(target), **changes) == 0
    assert json.loads((half / RESULT).read_text())["execution"]["resumed_from"] == 8
    ours, theirs = curves(whole), curves(half)
    assert len(ours) == len(theirs) == 9
    assert theirs[-1]["loss"] == pytest.approx(ours[-1]["loss"], rel=1e-5)
    assert theirs[-1]["margin"] == pytest.approx(ours[-1]["margin"], rel=1e-4)


def test_pairs_held_back_are_measured(tiny_model, tmp_path):
    job_in(tmp_path, tiny_model, learning_rate=1e-2, epochs=4)
    shutil.copy(tmp_path / "data" / "train.parquet", tmp_path / "data" / "validation.parquet")
    assert program.main([str(tmp_path / JOB)]) == 0
    told = json.loads((tmp_path / RESULT).read_text())
    assert told["validation_loss_before"] == pytest.approx(math.log(2))
    assert told["validation_loss"] < math.log(2)
    assert curves(tmp_path)[-1]["validation_accuracy"] > 0.5


def test_training_ends_where_real_answers_fall(tiny_model, tmp_path):
    settings = {"learning_rate": 1e-1, "epochs": 4, "beta": 5.0, "loss": "hinge"}
    assert run(tmp_path / "whole", tiny_model, **settings) == 0
    gains = [row["real_gain"] for row in curves(tmp_path / "whole")]
    tokens = sum(len(pair["chosen_ids"]) for pair in PAIRS) / len(PAIRS)
    fall = [-sum(gains[max(0, n - dpo.FEW) : n]) / min(n, dpo.FEW) / tokens for n in range(1, 13)]
    due = next(n for n, lost in enumerate(fall, start=1) if lost > 0.1)
    assert 1 < due < 12
    assert run(tmp_path / "stopped", tiny_model, stop_fall=0.1, **settings) == 0
    told = json.loads((tmp_path / "stopped" / RESULT).read_text())
    assert (told["updates"], told["stopped_at_fall"]) == (due, True)
    assert [row["real_gain"] for row in curves(tmp_path / "stopped")] == pytest.approx(gains[:due])
    told = json.loads((tmp_path / "whole" / RESULT).read_text())
    assert (told["updates"], told["stopped_at_fall"]) == (12, False)
