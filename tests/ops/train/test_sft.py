import json
import shutil
from dataclasses import replace
from itertools import pairwise

import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter

from woolgather.core.artifacts import Model
from woolgather.core.errors import YieldError
from woolgather.core.rows import Example
from woolgather.core.storage import digest
from woolgather.ops.train.sft import encode, sft
from woolgather.prompting.template_choice import ChatTemplate
from woolgather.training.fake import FakeTrainer
from woolgather.training.job import SftOptions, TrainJob, is_fake

from .stamps import read_stamp

FAKE = Model("fake", fingerprint="fake")


def rows(count: int, words: int = 3) -> list[Example]:
    return [
        Example(instruction=f"task {n}", response=f"answer {n} " + "word " * words)
        for n in range(count)
    ]


class Remembers:
    """A trainer that leaves nothing but the job it was given."""

    job: TrainJob

    def __call__(self, job, out):
        self.job = job
        return Model(str(out / "model"))

    def __canonical__(self):
        return None


def tuned(examples, out, *, start=FAKE, trainer=None, seed=0, min_rows=8, **settings):
    config = SftOptions(**settings)
    trainer = trainer or FakeTrainer()
    return sft(
        examples,
        start=start,
        config=config,
        trainer=trainer,
        out=out,
        seed=seed,
        min_rows=min_rows,
    )


def stored(out, name):
    return pq.read_table(out / "data" / f"{name}.parquet").to_pylist()


def test_a_share_of_the_rows_is_held_back(tmp_path):
    tuned(rows(40), tmp_path, validation=0.1)
    train, held = stored(tmp_path, "train"), stored(tmp_path, "validation")
    assert (len(train), len(held)) == (36, 4)
    assert not {tuple(r["input_ids"]) for r in train} & {tuple(r["input_ids"]) for r in held}
    tuned(rows(40), tmp_path / "none", validation=0)
    assert not (tmp_path / "none" / "data" / "validation.parquet").exists()


def test_a_prompt_that_occurs_twice_is_never_held_back(tmp_path):
    twice = [Example(instruction="same", response=f"answer {n}") for n in range(10)]
    tuned([*twice, *rows(2)], tmp_path, validation=0.5)
    assert len(stored(tmp_path, "validation")) == 2
    assert len(stored(tmp_path, "train")) == 10


def test_order_follows_from_the_seed(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        tuned(rows(30), tmp_path / name, seed=seed)
    same, again, other = (digest(tmp_path / n / "data") for n in "abc")
    assert same == again
    assert same != other


def test_too_few_rows_end_the_step_with_advice(tmp_path):
    with pytest.raises(YieldError, match=r"only 7 rows .* at least 8 .*keep\.above"):
        tuned(rows(7), tmp_path)
    assert tuned(rows(7), tmp_path, min_rows=7).path


def test_rows_over_a_bound_are_left_out_and_told(tmp_path):
    long = rows(3, words=200)
    model = tuned([*rows(20), *long], tmp_path, max_rows=15, max_length=64, validation=0)
    assert len(stored(tmp_path, "train")) == 15
    shown = dict(model.views[1].data["rows"])
    assert shown["rows left out: too long"] == 3
    assert shown["rows left out: over max_rows"] == 5


@pytest.mark.parametrize("positions", [128, 512], ids=["fewer", "more"])
def test_a_row_over_the_positions_of_the_model_is_left_out(tmp_path, tiny_model, positions):
    start = shutil.copytree(tiny_model, tmp_path / "start")
    config = json.loads((start / "config.json").read_text())
    (start / "config.json").write_text(json.dumps({**config, "max_position_embeddings": positions}))
    examples = [*rows(10), *rows(3, words=40)]
    model = tuned(examples, tmp_path, start=Model(str(start)), trainer=Remembers(), validation=0)
    left = dict(model.views[0].data["rows"]).get("rows left out: too long", 0)
    longest = max(len(r["input_ids"]) for r in stored(tmp_path, "train"))
    assert (left, longest > 128) == ((3, False) if positions == 128 else (0, True))


def test_loss_is_on_the_response_and_one_end_token(tmp_path, tiny_model):
    from woolgather.prompting.renderer import Renderer

    renderer = Renderer(tiny_model)
    [(ids, labels)] = encode(
        [Example(instruction="say", response="the fox")], Model(str(tiny_model))
    )
    start = labels.index(next(x for x in labels if x != -100))
    assert labels[start:] == ids[start:]
    assert set(labels[:start]) == {-100}
    assert renderer.tokenizer.decode(ids[start:]) == "the fox<|im_end|>"
    assert labels.count(renderer.end_id) == 1


@pytest.mark.parametrize("fake", [True, False], ids=["words", "tokens"])
def test_a_row_that_was_cut_has_no_end_token(tiny_model, fake):
    start = FAKE if fake else Model(str(tiny_model))
    ways = ("length", "stop", None)
    cut, ended, given = encode(
        [Example(instruction="say", response="the fox", finish_reason=way) for way in ways], start
    )
    assert ended == given
    assert (cut[0], cut[1]) == (ended[0][:-1], ended[1][:-1])
    end = 0 if fake else end_of(tiny_model)
    assert end not in cut[1]
    assert ended[1].count(end) == 1
    assert ended[1][-1] == end


def end_of(path):
    from woolgather.prompting.renderer import Renderer

    return Renderer(path).end_id


def test_the_trainer_gets_the_whole_job(tmp_path):
    trainer = Remembers()
    model = tuned(rows(20), tmp_path, trainer=trainer, seed=5, learning_rate=1e-4)
    job = trainer.job
    assert (job.kind, job.start, job.seed, job.data) == ("sft", FAKE, 5, tmp_path / "data")
    assert job.options.learning_rate == 1e-4
    assert [view.kind for view in model.views] == ["table"]


def test_a_fake_training_leaves_what_a_real_one_does(tmp_path):
    model = tuned(rows(40), tmp_path, epochs=3, batch_size=8, warmup_updates=2)
    assert is_fake(model)
    assert model.prompt_format == "chat"
    curve, table = model.views
    assert curve.kind == "curve"
    assert len(curve.data["series"]["training"]) == 15
    assert dict(table.data["rows"])["updates"] == 15
    assert curve.data["series"]["training"][0][1] > curve.data["series"]["training"][-1][1]
    assert json.loads((tmp_path / "result.json").read_text())["seconds"] is None


def test_a_fake_training_is_the_same_byte_for_byte_and_marks_its_job(tmp_path):
    models = [
        tuned(rows(20), tmp_path / "a"),
        tuned(rows(20), tmp_path / "b"),
        tuned(rows(20), tmp_path / "c", learning_rate=1e-3),
    ]
    first, second, other = (digest(tmp_path / name) for name in "abc")
    assert first == second
    assert first != other
    assert read_stamp(models[0])["config"]["learning_rate"] == 5e-5
    assert read_stamp(models[2])["config"]["learning_rate"] == 1e-3


def test_a_warm_up_as_long_as_the_training_is_told(tmp_path):
    kinds = [v.kind for v in tuned(rows(20), tmp_path / "a", warmup_updates=20).views]
    assert kinds == ["curve", "table", "alarm"]
    kinds = [v.kind for v in tuned(rows(20), tmp_path / "b", warmup_updates=0.1).views]
    assert kinds == ["curve", "table"]


def test_the_plan_counts_updates_and_tokens():
    expected = sft.expects(rows(100), start=FAKE, config=SftOptions(), trainer=FakeTrainer())
    assert expected.updates == 12
    assert expected.train_tokens == 12 * 16 * 160
    few = SftOptions(max_rows=20, epochs=1)
    bounded = sft.expects(rows(100), start=FAKE, config=few, trainer=FakeTrainer())
    assert bounded.updates == 2
    assert bounded.memory is None


@pytest.mark.parametrize(("stopped", "alarms"), [(0, 1), (1, 1), (2, 0), (8, 0)])
def test_a_model_that_does_not_stop_is_an_alarm(tmp_path, stopped, alarms):
    def trainer(job, out):
        told = {"updates": 9, "stops": {"asked": 8, "stopped": stopped}}
        (out / "result.json").write_text(json.dumps(told))
        return Model(str(out / "model"))

    model = tuned(rows(20), tmp_path, trainer=trainer, warmup_updates=0)
    assert dict(model.views[0].data["rows"])["answers that end, of 8 asked"] == stopped
    found = [v.title for v in model.views if v.kind == "alarm"]
    assert found == ["Does not stop"] * alarms


@pytest.mark.parametrize("trained", [True, False])
def test_an_end_token_that_nobody_trained_is_told(tmp_path, trained):
    def trainer(job, out):
        end = {"token": "<|im_end|>", "norm": 0.08, "median": 1.59, "trained": trained}
        (out / "result.json").write_text(json.dumps({"updates": 9, "untrained_end": end}))
        return Model(str(out / "model"))

    model = tuned(rows(20), tmp_path, trainer=trainer, warmup_updates=0)
    [found] = [v for v in model.views if v.kind == "alarm"]
    assert found.title == ("End token trained" if trained else "End token cannot be learned")
    assert found.data["level"] == ("note" if trained else "warning")
    assert (
        "<|im_end|> was never trained: its length is 0.08, and the median is 1.6"
        in found.data["text"]
    )


def test_every_answer_of_a_conversation_has_loss():
    turns = ["user", "a b"], ["assistant", "c"], ["user", "d"], ["assistant", "e f"], ["user", "g"]
    meta = {"conversation": [{"role": role, "content": text} for role, text in turns]}
    row = Example(instruction="a b", response="c", system="s", meta=meta)
    ((ids, labels),) = encode([row], FAKE)
    assert [i == label for i, label in zip(ids, labels, strict=True)] == [
        False, False, False, True, True, False, True, True, True,
    ]  # fmt: skip
    ((_, cut),) = encode([replace(row, finish_reason="length")], FAKE)
    assert cut == labels[:-1]


@pytest.mark.parametrize(("template", "learned"), [("chatml", 16), ("plain", 8)])
def test_answers_that_a_template_writes_otherwise_later_are_told(
    tiny_model, tmp_path, template, learned
):
    """Plain turns put a space before an answer of the past."""
    start = Model(str(tiny_model), fingerprint="tiny").with_template(choose(template).text)
    made = tuned(several_turns(8), tmp_path, start=start, trainer=Remembers(), validation=0)
    labels = [row["labels"] for row in stored(tmp_path, "train")]
    runs = sum(b != -100 == a for row in labels for a, b in pairwise([-100, *row]))
    assert runs == learned
    told = [view.data["text"] for view in made.views if view.kind == "alarm"]
    assert told == [] if learned == 16 else told[0].startswith("Of 16 answers in 8 rows of several")


def several_turns(count):
    texts = "say it", "one", "and then", "two"
    roles = ("user", "assistant") * 2
    turns = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]
    meta = {"conversation": turns}
    return [Example(instruction="say it", response="one", meta=meta) for _ in range(count)]


def choose(name):
    return TypeAdapter(ChatTemplate).validate_python(name)


def test_the_last_answer_of_a_conversation_is_what_a_trained_model_is_tried_on():
    from woolgather.training.worker.sft import _split

    assert _split([1, 2, 3, 4, 5, 6], [-100, 2, 3, -100, 5, 6]) == ([1, 2, 3, 4], [5, 6])
    assert _split([1, 2, 3], [-100, -100, 3]) == ([1, 2], [3])
