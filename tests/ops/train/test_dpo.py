"""Pairs become a job: what is held back, left out, drawn and warned of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError, YieldError
from woolgather.core.rows import PreferencePair
from woolgather.core.storage import write_json
from woolgather.ops.train.dpo import COLUMNS, dpo, pair_encoder
from woolgather.training.checkpoints import write_curves
from woolgather.training.fake import FakeTrainer
from woolgather.training.job import CURVES, PAIR_NUMBERS, RESULT, DpoOptions, LoraOptions, is_fake

from .stamps import read_stamp

FAKE = Model("fake", fingerprint="fake")


def pairs(count: int, words: int = 3, of: str = "task") -> list[PreferencePair]:
    return [
        PreferencePair(id=f"{of}{n}", instruction=f"{of} {n}", chosen="yes " * words, rejected="no")
        for n in range(count)
    ]


class Leaves:
    """A trainer that leaves a line of gains over the opponent, and keeps its job."""

    def __init__(self, gains: list[float], at_start: float = 0.0) -> None:
        self.gains, self.at_start = gains, at_start

    def __call__(self, job: Any, out: Path) -> Model:
        self.job = job
        rows = [{"update": i + 1, "loss": 0.7, "real_gain": g} for i, g in enumerate(self.gains)]
        write_curves(rows, out / CURVES, PAIR_NUMBERS)
        write_json(out / RESULT, {"updates": len(rows), "margin_at_start": self.at_start})
        return Model(str(out / "model"))

    def __canonical__(self) -> None:
        return None


def tuned(rows: Any, out: Path, **more: Any) -> Model:
    names = ("trainer", "start", "reference", "seed", "min_rows")
    given = {k: more.pop(k) for k in names if k in more}
    how = {"trainer": FakeTrainer(), "start": FAKE, "reference": FAKE, **given}
    window = [*more.pop("earlier", ()), rows]
    return dpo(window, config=DpoOptions(**more), out=out, **how)


def stored(out: Path, name: str) -> list[dict[str, list[int]]]:
    return list(pq.read_table(out / "data" / f"{name}.parquet").to_pylist())


def test_a_pair_is_three_lists_of_ids_each_answer_with_its_end(tmp_path: Path) -> None:
    tuned(pairs(10), tmp_path)
    rows = stored(tmp_path, "train")
    assert len(rows) == 10
    assert tuple(rows[0]) == COLUMNS
    assert [len(rows[0][name]) for name in COLUMNS] == [2, 4, 2]
    assert rows[0]["chosen_ids"][-1] == rows[0]["rejected_ids"][-1] == 0


@pytest.mark.parametrize("fake", [True, False], ids=["words", "tokens"])
def test_an_answer_that_was_cut_has_no_end_token(tiny_model: Path, fake: bool) -> None:
    start = FAKE if fake else Model(str(tiny_model))
    encode = pair_encoder(start)
    [whole] = pairs(1)
    _, chosen, rejected = encode(whole)
    end = chosen[-1]
    assert (chosen.count(end), rejected.count(end)) == (1, 1)
    cut = replace(whole, meta={"finish_reasons": {"rejected": "length"}})
    assert encode(cut)[1:] == (chosen, rejected[:-1])
    cut = replace(whole, meta={"finish_reasons": {"chosen": "length", "rejected": "stop"}})
    assert encode(cut)[1:] == (chosen[:-1], rejected)
    assert encode(replace(whole, meta={"finish_reasons": "length"}))[1:] == (chosen, rejected)


def test_pairs_of_earlier_iterations_are_trained_on_too(tmp_path: Path) -> None:
    tuned(pairs(10), tmp_path, earlier=[pairs(6, of="old"), pairs(4, of="older")])
    assert len(stored(tmp_path, "train")) == 20


def test_a_prompt_is_held_back_with_all_its_pairs(tmp_path: Path) -> None:
    tuned(pairs(20), tmp_path, earlier=[pairs(20, words=5)], validation=0.1)
    train, held = stored(tmp_path, "train"), stored(tmp_path, "validation")
    assert (len(train), len(held)) == (36, 4)
    assert not {tuple(r["prompt_ids"]) for r in train} & {tuple(r["prompt_ids"]) for r in held}


def test_what_does_not_fit_is_left_out_and_told(tmp_path: Path) -> None:
    rows = [*pairs(20), *pairs(3, words=90, of="long"), *pairs(2, of="word " * 40)]
    model = tuned(rows, tmp_path, max_length=64, max_prompt_length=30, max_rows=15)
    assert len(stored(tmp_path, "train")) == 15
    shown = dict(model.views[-1].data["rows"])
    assert shown["rows left out: too long"] == 5
    assert shown["rows left out: over max_rows"] == 5


def test_too_few_pairs_end_the_step_with_advice(tmp_path: Path) -> None:
    with pytest.raises(YieldError, match=r"only 7 pairs .* at least 8 .*max_tokens"):
        tuned(pairs(7), tmp_path)


def test_the_opponent_is_an_argument_and_below_an_adapter_the_start(tmp_path: Path) -> None:
    other = Model("fake-other", fingerprint="other")
    with pytest.raises(ConfigError, match="with lora the reference is the model below"):
        tuned(pairs(10), tmp_path, reference=other)
    trainer = Leaves([0.0])
    tuned(pairs(10), tmp_path, reference=other, lora=None, trainer=trainer, seed=4)
    job = trainer.job
    assert (job.kind, job.start, job.reference, job.seed) == ("dpo", FAKE, other, 4)
    model = tuned(pairs(10), tmp_path / "fake", reference=other, lora=None)
    assert read_stamp(model)["reference"] == "other"


def test_what_is_drawn(tmp_path: Path) -> None:
    model = tuned(pairs(40), tmp_path, batch_size=8, epochs=2.0, validation=0.1)
    assert is_fake(model)
    curves = {v.title: v.data["series"] for v in model.views if v.kind == "curve"}
    assert list(curves) == [
        "Preference loss", "Log-probability of answers", "Gain over the opponent", "Margin",
        "Pairs told apart",
    ]  # fmt: skip
    assert set(curves["Log-probability of answers"]) == {"real", "generated"}
    assert len(curves["Margin"]["margin"]) == 10
    assert dict(model.views[-1].data["rows"])["margin at the first update"] == 0
    assert not [v for v in model.views if v.kind == "alarm"]


@pytest.mark.parametrize(
    ("gains", "alarms"),
    [
        ([0, 0.5, 1, 1], []),
        ([0, -3, -3, 0.5], []),
        ([0, 0, 0, -0.05], []),
        ([0, -1, -2, -3], ["Real answers became less likely"]),
        ([], []),
    ],
)
def test_falling_real_answers_are_an_alarm(
    tmp_path: Path, gains: list[float], alarms: list[str]
) -> None:
    model = tuned(pairs(10), tmp_path, trainer=Leaves(gains))
    found = [v for v in model.views if v.kind == "alarm"]
    assert [v.title for v in found] == alarms
    for view in found:
        assert "by 3.00 nats per answer. nll_weight adds an anchor" in view.data["text"]


def test_a_start_that_is_not_its_opponent_is_an_alarm(tmp_path: Path) -> None:
    far = tuned(pairs(10), tmp_path, trainer=Leaves([0.0], at_start=0.5))
    assert [v.title for v in far.views if v.kind == "alarm"] == ["Start and opponent differ"]
    near = tuned(pairs(10), tmp_path / "near", trainer=Leaves([0.0], at_start=1e-4))
    assert not [v for v in near.views if v.kind == "alarm"]


def test_a_fake_training_is_the_same_byte_for_byte(tmp_path: Path) -> None:
    from woolgather.core.storage import digest

    for name, more in (("a", {}), ("b", {}), ("c", {"beta": 5.0}), ("d", {"lora": LoraOptions()})):
        tuned(pairs(20), tmp_path / name, **more)
    a, b, c, d = (digest(tmp_path / name) for name in "abcd")
    assert a == b
    assert len({a, c, d}) == 3


def test_the_plan_counts_the_window() -> None:
    config = DpoOptions(batch_size=8)
    how = {"start": FAKE, "reference": FAKE, "config": config, "trainer": FakeTrainer()}
    expected = dpo.expects([pairs(20), pairs(20)], **how)
    assert (expected.updates, expected.train_tokens) == (5, 5 * 8 * 2 * 160)
