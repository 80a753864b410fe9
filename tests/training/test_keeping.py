"""The models that a training keeps on its way: the best by validation loss, and one of each epoch; a kill
loses none of them. And dropout of the model itself, where all weights are trained."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
import transformers

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError
from woolgather.core.fingerprint import canonical
from woolgather.core.rows import Example
from woolgather.ops.train.epoch import take_epoch
from woolgather.training.attempts import find_checkpoint
from woolgather.training.checkpoints import CHECKPOINTS, STOPPED, best_of
from woolgather.training.job import CURVES, MARKER, DpoOptions, SftOptions, epoch_dir
from woolgather.training.worker import told as telling
from woolgather.training.worker.dropout import find_dropout, set_dropout

from .test_dpo import run as run_pairs
from .working import losses, run, told

pytestmark = pytest.mark.usefixtures("few_threads")
OTHERS = [Example(instruction=f"say {n}", response="One two three four yes") for n in range(4)]
WORSE = {"held": OTHERS, "epochs": 6, "learning_rate": 1e-2, "keep_best": True, "validation": 0.3}
"""The rows that are held back have other answers, which get less likely with each update in the end."""
FULL = {**WORSE, "lora": None, "learning_rate": 3e-3}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    [file] = folder.glob("*.safetensors")
    return safetensors.torch.load_file(file)


def same(one: Path, other: Path) -> bool:
    a, b = weights(one), weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def validations(out: Path) -> dict[int, float]:
    rows = pq.read_table(out / CURVES).to_pylist()
    return {
        r["update"]: r["validation_loss"]
        for r in rows
        if r["update"] and r["validation_loss"] is not None
    }


@pytest.mark.parametrize("how", [WORSE, FULL], ids=["lora", "full"])
@pytest.mark.parametrize("every", [None, 5])
def test_the_result_has_the_lowest_validation_loss(
    tiny_model: Path, tmp_path: Path, how: dict[str, object], every: int | None
) -> None:
    out = tmp_path / "out"
    assert run(tiny_model, out, **how, validate_every=every) == 0
    seen, result = validations(out), told(out)
    assert list(seen) == ([3, 6, 9, 12, 15, 18] if every is None else [5, 10, 15, 18])
    best = min(seen, key=seen.__getitem__)
    assert best < 18
    assert (result["kept_update"], result["validation_loss"]) == (best, seen[best])
    kept = best_of([out], "d")
    assert kept is not None
    assert (kept.update, kept.loss) == (best, seen[best])
    assert same(out / "model", kept.path)
    assert len(list((out / CHECKPOINTS).glob("best-*"))) == 1
    last = tmp_path / "last"
    assert run(tiny_model, last, **{**how, "keep_best": False}, validate_every=every) == 0
    assert not same(out / "model", last / "model")
    assert told(last)["kept_update"] is None


def test_a_last_model_that_is_the_best_is_the_result(tiny_model: Path, tmp_path: Path) -> None:
    how = {**WORSE, "learning_rate": 1e-3, "epochs": 2}
    assert run(tiny_model, tmp_path / "a", **how) == 0
    assert run(tiny_model, tmp_path / "b", **{**how, "keep_best": False}) == 0
    assert told(tmp_path / "a")["kept_update"] is None
    assert same(tmp_path / "a" / "model", tmp_path / "b" / "model")


def stop_at(monkeypatch: pytest.MonkeyPatch, update: int) -> None:
    saved = telling.Told.on_save

    def stop(self, args, state, control, **more):
        self._stopping = state.global_step == update
        saved(self, args, state, control, **more)

    monkeypatch.setattr(telling.Told, "on_save", stop)


@pytest.mark.parametrize("update", [3, 8, 12])
def test_a_kill_keeps_the_best_so_far(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, update: int
) -> None:
    """Behind the best as before it, and at the end of an epoch as within one."""
    whole, first, second = tmp_path / "whole", tmp_path / "attempt-1", tmp_path / "attempt-2"
    assert run(tiny_model, whole, **WORSE) == 0
    with monkeypatch.context() as patched:
        stop_at(patched, update)
        assert run(tiny_model, first, **WORSE) == STOPPED
    point = find_checkpoint(second, "d")
    assert point == str(second / CHECKPOINTS / f"checkpoint-{update}")
    shutil.rmtree(first)
    assert run(tiny_model, second, resume=Path(point), **WORSE) == 0
    assert told(second)["kept_update"] == told(whole)["kept_update"]
    assert told(second)["validation_loss"] == pytest.approx(
        told(whole)["validation_loss"], rel=1e-5
    )
    assert losses(second) == pytest.approx(losses(whole)[update:], rel=1e-5)
    a, b = weights(second / "model"), weights(whole / "model")
    assert all(torch.allclose(a[name], b[name], atol=1e-5) for name in a)


def test_a_half_written_best_does_not_count(tmp_path: Path) -> None:
    folder = tmp_path / CHECKPOINTS / "best-4"
    folder.mkdir(parents=True)
    assert best_of([tmp_path], "d") is None
    (folder / MARKER).write_text(json.dumps({"update": 4, "job": "another", "loss": 1.0}))
    assert best_of([tmp_path], "d") is None


def test_the_best_needs_rows_that_are_held_back() -> None:
    for name in ("keep_best", "validate_every"):
        with pytest.raises(ConfigError, match=f"{name} goes by .* set validation above 0"):
            SftOptions(validation=0, **{name: True})
    with pytest.raises(ConfigError, match="keep_best goes by"):
        DpoOptions(keep_best=True)


@pytest.mark.parametrize("lora", [{"r": 4, "dropout": 0}, None], ids=["lora", "full"])
def test_a_model_of_each_epoch_is_the_one_that_training_had(
    tiny_model: Path, tmp_path: Path, lora: dict[str, object] | None
) -> None:
    out, short = tmp_path / "out", tmp_path / "short"
    assert (
        run_pairs(out, tiny_model, epochs=3, keep_epochs=True, lora=lora, schedule="constant") == 0
    )
    assert not epoch_dir(out, 3).exists()
    tuned = Model(str(out / "model"), fingerprint="tuned")
    taken = [Path(take_epoch(tuned, epoch=n, out=tmp_path / str(n)).path) for n in (1, 2)]
    assert run_pairs(short, tiny_model, epochs=1, lora=lora, schedule="constant") == 0
    assert same(taken[0], short / "model")
    assert not same(taken[0], taken[1])
    assert not same(taken[1], out / "model")
    assert not (taken[0] / MARKER).exists()
    for place in taken:
        assert (place / "tokenizer.json").is_file()
    if lora is None:
        model = transformers.AutoModelForCausalLM.from_pretrained(taken[0])
        assert model.dtype == transformers.AutoConfig.from_pretrained(tiny_model).dtype


def test_epochs_outlive_a_kill(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = {"epochs": 3, "keep_epochs": True}
    first, second, whole = tmp_path / "attempt-1", tmp_path / "attempt-2", tmp_path / "whole"
    assert run_pairs(whole, tiny_model, **how) == 0
    with monkeypatch.context() as patched:
        stop_at(patched, 4)
        assert run_pairs(first, tiny_model, every=0, **how) == STOPPED
    point = find_checkpoint(second, "d")
    shutil.rmtree(first)
    assert run_pairs(second, tiny_model, resume=point, **how) == 0
    for n in (1, 2):
        assert same(epoch_dir(second, n), epoch_dir(whole, n))


def test_an_epoch_that_was_not_kept_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(ConfigError, match=r"kept no model of epoch 1\. Set keep_epochs=false, or"):
        take_epoch(Model(str(tmp_path / "model")), epoch=1, out=tmp_path / "out")


@pytest.mark.parametrize("other", [{"max_updates": 3}, {"keep_best": True, "validation": 0.1}])
def test_each_epoch_and_something_else_are_not_both_kept(other: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"keep_epochs .* {next(iter(other))} was set beside it"):
        DpoOptions(keep_epochs=True, **other)


def test_epochs_before_the_last_are_counted() -> None:
    assert list(DpoOptions(keep_epochs=True, epochs=3).earlier_epochs) == [1, 2]
    assert list(DpoOptions(keep_epochs=True, epochs=1.5).earlier_epochs) == [1]
    assert list(DpoOptions(epochs=3).earlier_epochs) == []


def test_settings_that_came_later_change_no_earlier_identity() -> None:
    for options in (SftOptions(), DpoOptions()):
        found = canonical(options)
        later = {"keep_best", "validate_every", "keep_epochs", "dropout"}
        assert not later & found.keys()
        assert set(found["lora"]) == {"r", "alpha", "dropout"}
    changed = canonical(SftOptions(lora=None, dropout=0.1, keep_best=True))
    assert (changed["dropout"], changed["keep_best"]) == (0.1, True)


def test_dropout_of_the_model_acts_and_is_not_handed_on(tiny_model: Path, tmp_path: Path) -> None:
    how = {"lora": None, "learning_rate": 1e-3, "precision": "float32"}
    assert run(tiny_model, tmp_path / "plain", **how) == 0
    assert run(tiny_model, tmp_path / "none", **how, dropout=0.0) == 0
    assert run(tiny_model, tmp_path / "some", **how, dropout=0.3) == 0
    plain, none, some = (losses(tmp_path / n) for n in ("plain", "none", "some"))
    assert none == plain
    assert some[0] != pytest.approx(plain[0], rel=1e-4)
    files = [(tmp_path / n / "model" / "config.json").read_text() for n in ("plain", "some")]
    assert json.loads(files[0]) == json.loads(files[1])
    assert json.loads(files[1])["attention_dropout"] == 0.0


def test_dropout_goes_wherever_a_config_has_some() -> None:
    config = transformers.GPT2Config()
    assert find_dropout(config) == {"resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1}
    assert set_dropout(config, 0.2) == {"resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1}
    assert (config.resid_pdrop, config.embd_pdrop, config.attn_pdrop) == (0.2, 0.2, 0.2)
    assert set(find_dropout(transformers.OPTConfig())) == {"dropout", "attention_dropout"}
    bare = SimpleNamespace(model_type="mamba", to_dict=dict, update=None)
    with pytest.raises(
        ConfigError, match=r"dropout=0\.1: models of the kind mamba have no dropout"
    ):
        set_dropout(bare, 0.1)


def test_dropout_of_the_model_is_for_all_weights() -> None:
    with pytest.raises(ConfigError, match=r"dropout is for training all weights .* lora\.dropout"):
        SftOptions(dropout=0.1)
    assert SftOptions(lora=None, dropout=0.1).dropout == 0.1
