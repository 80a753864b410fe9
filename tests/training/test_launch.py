"""Real training of a tiny model through `accelerate launch`, killed and stopped on the way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from woolgather.artifacts import Model
from woolgather.errors import ConfigError, DiskError, TrainingError
from woolgather.fingerprint import canonical
from woolgather.ops.merge import merge
from woolgather.ops.prefer import dpo
from woolgather.ops.train import encode, sft, write_tokens
from woolgather.records import Example, PreferencePair
from woolgather.storage import digest
from woolgather.training import files, open_trainer
from woolgather.training.job import CURVES, RESULT, DpoOptions, SftOptions, TrainJob
from woolgather.training.launch import LAUNCHES, LocalTrainer, _identity, _resume

pytestmark = pytest.mark.xdist_group("training")

WORDS = ["quick", "brown", "fox", "jumps", "over", "lazy", "dog"]
ROWS = [Example(instruction=f"say {a} {b}", response="the fox") for a in WORDS for b in WORDS[1:]]
UPDATES = 60
OPTIONS = SftOptions(
    learning_rate=2e-2, warmup_updates=2, max_updates=UPDATES, batch_size=8, max_length=64
)
STEP = """
    import sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from test_launch import OPTIONS, ROWS, Model, LocalTrainer, sft
    sft(ROWS, start=Model({start!r}, "base"), config=OPTIONS, seed=1, out=Path({out!r}),
        trainer=LocalTrainer(checkpoint_every=0, cpu=True, threads=1))
"""


@pytest.fixture(scope="module")
def start(tiny_model, tmp_path_factory):
    """The tiny model with an end token that an adapter can bring out: as padding, its row of the
    embedding (and of the head that is tied to it) was left at zero."""
    import torch
    from transformers import AutoModelForCausalLM

    path = tmp_path_factory.mktemp("start") / "model"
    shutil.copytree(tiny_model, path)
    model = AutoModelForCausalLM.from_pretrained(path)
    row = torch.randn(64, generator=torch.Generator().manual_seed(1))
    model.get_input_embeddings().weight.data[2] = 0.3 * row
    model.save_pretrained(path)
    return Model(str(path), fingerprint="base")


def step(start: Model, out: Path, **fields) -> Model:
    out.mkdir(parents=True, exist_ok=True)
    trainer = LocalTrainer(cpu=True, threads=1, **fields)
    return sft(ROWS, start=start, config=OPTIONS, trainer=trainer, out=out, seed=1)


@pytest.fixture(scope="module")
def trained(start, tmp_path_factory):
    """(model, its directory, events) of a training that nothing disturbed."""
    out, events = tmp_path_factory.mktemp("train") / "attempt-1", []
    return step(start, out, on_progress=events.append), out, events


@pytest.fixture(scope="module")
def merged(trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("merge")
    return merge(trained[0], trainer=LocalTrainer(threads=1), out=out, card={"title": "Tiny"})


def losses(out: Path) -> list[float]:
    return [p["loss"] for p in pq.read_table(out / CURVES).to_pylist() if p["loss"] is not None]


def result(out: Path) -> dict:
    return json.loads((out / RESULT).read_text())


def test_training_lowers_the_loss_and_tells_of_it(trained):
    model, out, events = trained
    line = losses(out)
    assert len(line) == UPDATES
    assert sum(line[-5:]) < 0.5 * sum(line[:5])
    told = result(out)
    assert told["validation_loss"] < told["validation_loss_before"]
    assert told["updates"] == UPDATES
    assert [e["update"] for e in events if e["event"] == "update"] == list(range(1, UPDATES + 1))
    last = next(e for e in reversed(events) if e["event"] == "update")
    assert last["updates"] == UPDATES
    assert last["tokens_per_second"] > 0
    assert [v.kind for v in model.views] == ["curve", "table"]
    assert set(model.views[0].data["series"]) == {"training", "validation"}


def test_the_adapter_is_usable_as_it_lies(trained, start):
    import peft
    from transformers import AutoTokenizer

    folder = Path(trained[0].path)
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == start.path
    assert os.path.isabs(config["base_model_name_or_path"])
    assert (folder / "adapter_model.safetensors").is_file()
    assert AutoTokenizer.from_pretrained(folder).chat_template
    assert peft.AutoPeftModelForCausalLM.from_pretrained(folder) is not None
    assert not (trained[1] / files.CHECKPOINTS).exists()
    assert not list(folder.glob("*.bin"))


def test_the_merged_model_is_base_plus_adapter(trained, merged):
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        apart = peft.AutoPeftModelForCausalLM.from_pretrained(trained[0].path)(ids).logits
        plain = AutoModelForCausalLM.from_pretrained(merged.path)
        assert torch.allclose(plain(ids).logits, apart, atol=1e-3)
        base = AutoModelForCausalLM.from_pretrained(merged_base(trained))
        assert not torch.allclose(base(ids).logits, apart, atol=0.1)
    assert plain.dtype == base.dtype


def merged_base(trained) -> str:
    config = json.loads((Path(trained[0].path) / "adapter_config.json").read_text())
    return str(config["base_model_name_or_path"])


def test_the_merged_model_stops_by_itself(merged):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(merged.path)
    model = AutoModelForCausalLM.from_pretrained(merged.path)
    turns = [{"role": "user", "content": "say fox dog"}]
    prompt = tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    made = model.generate(**prompt, do_sample=False, max_new_tokens=60)[0]
    reply = made[prompt["input_ids"].shape[1] :].tolist()
    assert len(reply) < 60
    assert reply.count(tokenizer.eos_token_id) == 1
    assert reply[-1] == tokenizer.eos_token_id
    assert (Path(merged.path) / "README.md").read_text().count("# Tiny") == 1


def test_the_dial_at_zero_is_the_base(trained, start, tmp_path):
    from safetensors.torch import load_file

    model = merge(trained[0], trainer=LocalTrainer(threads=1), out=tmp_path, scale=0.0)
    ours = load_file(Path(model.path) / "model.safetensors")
    base = load_file(Path(start.path) / "model.safetensors")
    assert ours.keys() == base.keys()
    assert all((ours[k] == base[k]).all() and ours[k].dtype == base[k].dtype for k in base)


def wait_for(condition, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def workers(out: Path) -> list[psutil.Process]:
    every = psutil.process_iter(["cmdline"])
    return [p for p in every if str(out / files.JOB) in (p.info["cmdline"] or [])]


class Enough(Exception):
    pass


def test_killed_and_stopped_it_ends_as_if_nothing_had_happened(trained, start, tmp_path):
    first, second, third = (tmp_path / f"attempt-{n}" for n in (1, 2, 3))
    first.mkdir()
    here = str(Path(__file__).parent)
    code = textwrap.dedent(STEP).format(tests=here, start=start.path, out=str(first))
    parent = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    complete = f"{files.CHECKPOINTS}/checkpoint-*/{files.MARKER}"
    assert wait_for(lambda: len(list(first.glob(complete))) >= 2, 120)
    os.killpg(parent.pid, signal.SIGKILL)
    parent.wait()
    assert wait_for(lambda: not workers(first), 10)
    assert not (first / RESULT).exists()

    def stop_at_some_update(event):
        if event["event"] == "update":
            raise Enough

    second.mkdir()
    with pytest.raises(Enough):
        step(start, second, on_progress=stop_at_some_update)
    assert not workers(second)
    stopped = dict(files.checkpoints([second], _identity(job_of(second, start))))
    killed = dict(files.checkpoints([first], _identity(job_of(first, start))))
    assert max(stopped) > max(killed)

    step(start, third)
    told = result(third)
    assert told["updates"] == UPDATES
    assert told["execution"]["resumed_from"] == max(stopped)
    assert losses(third) == pytest.approx(losses(trained[1]), rel=1e-3)


SMALL = """
    import sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from test_launch import OPTIONS, ROWS, DiskError, Model, LocalTrainer, sft
    disk = Path({disk!r})

    def fill(event):
        if event["event"] == "checkpoint" and not (disk / "ballast").exists():
            with (disk / "ballast").open("wb", buffering=0) as ballast:
                try:
                    while ballast.write(bytes(4096)):
                        pass
                except OSError:
                    pass

    options = OPTIONS.model_copy(update={{"max_updates": 12}})
    for attempt in (1, 2):
        out = disk / "step" / f"attempt-{{attempt}}"
        out.mkdir(parents=True)
        try:
            sft(ROWS, start=Model({start!r}, "base"), config=options, seed=1, out=out,
                trainer=LocalTrainer(checkpoint_every=0, cpu=True, threads=1, on_progress=fill))
        except DiskError as error:
            print(error)
            saved = len(list(out.glob("checkpoints/checkpoint-*/complete.json")))
            (disk / "ballast").write_bytes(b"")
    print(saved, (out / "result.json").read_text())
"""


def test_a_disk_that_is_full_ends_it_in_one_sentence_and_its_checkpoint_is_used(
    start, tmp_path, on_small_disk
):
    here = str(Path(__file__).parent)
    (tmp_path / "small.py").write_text(
        textwrap.dedent(SMALL).format(tests=here, start=start.path, disk=str(tmp_path / "disk"))
    )
    done = on_small_disk("60m", f"\"$python\" '{tmp_path / 'small.py'}'")
    assert done.returncode == 0, done.stderr
    said, _, told = done.stdout.partition("\n")
    assert said.startswith("training: no room left on the disk of"), done.stdout
    saved, _, numbers = told.partition(" ")
    assert int(saved) >= 1
    result = json.loads(numbers)
    assert result["updates"] == 12
    assert result["execution"]["resumed_from"] >= 1


def job_of(out: Path, start: Model) -> TrainJob:
    return TrainJob("sft", start, out / "data", OPTIONS.model_dump(mode="json"), 1)


# Without a process: what the launcher decides.


@pytest.fixture
def job(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    write_tokens(encode(ROWS, Model("fake")), data / "train")
    return TrainJob("sft", Model("some/model"), data, OPTIONS.model_dump(mode="json"), 1)


def checkpoint(out: Path, update: int, job: TrainJob, *, marked: bool = True) -> Path:
    folder = out / files.CHECKPOINTS / f"checkpoint-{update}"
    folder.mkdir(parents=True)
    (folder / "weights").write_text(str(update))
    if marked:
        files.complete(folder, update, _identity(job))
    return folder


def test_a_new_attempt_starts_from_a_copy_of_the_last_complete_checkpoint(tmp_path, job):
    first, second, third = (tmp_path / f"attempt-{n}" for n in (1, 2, 3))
    checkpoint(first, 10, job)
    checkpoint(first, 20, job)
    checkpoint(second, 30, job, marked=False)
    found = _resume(third, _identity(job))
    assert found == str(third / files.CHECKPOINTS / "checkpoint-20")
    assert (Path(found) / "weights").read_text() == "20"
    assert (first / files.CHECKPOINTS / "checkpoint-20").is_dir()
    assert _resume(third, _identity(job)) == found
    assert _resume(third, "another job") is None


def finished_by(place: Path, identity: str) -> None:
    """What a worker that ended well leaves."""
    (place / "model").mkdir(parents=True)
    (place / "model" / "weights").write_text("trained")
    (place / files.JOB).write_text(json.dumps({"digest": identity}))
    (place / files.LOG).write_text("the log")
    (place / RESULT).write_text(json.dumps({"updates": 60}))


@pytest.mark.parametrize("place", ["attempt-1", "."])
def test_what_an_earlier_attempt_finished_is_taken_over(tmp_path, job, place):
    """Its step was not recorded: killed, or no room for the record. In the second case what it made
    lies where the step's results belong."""
    finished_by(tmp_path / place, _identity(job))
    trainer = scripted()
    model = trainer(job, tmp_path / "attempt-2")
    assert trainer.seen == []
    assert model.path == str(tmp_path / "attempt-2" / "model")
    assert (Path(model.path) / "weights").read_text() == "trained"
    assert result(tmp_path / "attempt-2")["updates"] == 60
    assert not (tmp_path / place / RESULT).exists()


@pytest.mark.parametrize("lacks", [RESULT, "model", files.JOB, "identity"])
def test_what_is_not_whole_or_another_job_is_not_taken_over(tmp_path, job, lacks):
    first = tmp_path / "attempt-1"
    finished_by(first, "another" if lacks == "identity" else _identity(job))
    if lacks == "model":
        shutil.rmtree(first / "model")
    elif lacks != "identity":
        (first / lacks).unlink()
    trainer = scripted((4, False, "done"))
    trainer(job, tmp_path / "attempt-2")
    assert len(trainer.seen) == 1


def test_no_room_for_the_copy_of_a_checkpoint_is_not_the_loss_of_it(tmp_path, job, monkeypatch):
    checkpoint(tmp_path / "attempt-1", 10, job)

    def full(source, target):
        Path(target).mkdir(parents=True)
        raise shutil.Error([(source, target, "[Errno 28] No space left on device: 'weights'")])

    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(shutil.Error):
        _resume(tmp_path / "attempt-2", _identity(job))
    assert not list((tmp_path / "attempt-2" / files.CHECKPOINTS).iterdir())


def test_a_process_that_dies_without_a_word_on_a_full_disk(tmp_path, job, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=0))
    with pytest.raises(DiskError, match="no room left"):
        scripted((4, False, None))(job, tmp_path / "out")


def test_a_checkpoint_fits_the_same_job_only(job):
    config = dict(job.config)
    same = {**config, "micro_batch_size": 4, "gradient_checkpointing": True}
    other = {**config, "learning_rate": 1.0}
    assert _identity(TrainJob("sft", job.start, job.data, same, 1)) == _identity(job)
    assert _identity(TrainJob("sft", job.start, job.data, other, 1)) != _identity(job)
    assert _identity(TrainJob("sft", job.start, job.data, config, 2)) != _identity(job)
    assert _identity(TrainJob("sft", Model("another"), job.data, config, 1)) != _identity(job)


PAIRS = [
    PreferencePair(instruction=row.instruction, chosen="the fox", rejected="brown " * (1 + n % 3))
    for n, row in enumerate(ROWS)
]


def preferred(start: Model, out: Path, reference: Model | None = None) -> Model:
    config = DpoOptions(learning_rate=2e-3, max_updates=6, batch_size=8, precision="float32")
    trainer = LocalTrainer(cpu=True, threads=1)
    return dpo(
        PAIRS, start=start, reference=reference or start, config=config, trainer=trainer, out=out
    )


def test_preferences_are_learned_from_the_merged_opponent_and_no_other(start, tmp_path):
    """Two iterations as a recipe has them: train, merge, train from the merged model against it."""
    first = preferred(start, tmp_path / "a")
    (tmp_path / "b").mkdir()
    merged = merge(first, trainer=LocalTrainer(threads=1), out=tmp_path / "b")
    opponent = replace(merged, fingerprint="p1", digest=digest(Path(merged.path)))
    second = preferred(opponent, tmp_path / "c")
    for out in (tmp_path / "a", tmp_path / "c"):
        told = result(out)
        assert told["margin_at_start"] == 0
        assert told["margin"] > 0
    assert "Margin" in [view.title for view in second.views]
    wrong = replace(opponent, digest=digest(Path(start.path)))
    with pytest.raises(ConfigError, match="does not hold the weights that the opponent"):
        preferred(wrong, tmp_path / "d")


def test_a_checkpoint_fits_the_same_opponent_only(job):
    config = DpoOptions().model_dump(mode="json")
    one, other = Model("one", "one"), Model("other", "other")
    first, again, second = (
        _identity(TrainJob("dpo", job.start, job.data, config, 1, model))
        for model in (one, one, other)
    )
    assert first == again != second


class Scripted(LocalTrainer):
    """Launches nothing; each launch follows a script of (rows at once, error or None)."""

    script: list
    seen: list

    def _launch(self, job, out, identity, execution):
        self.seen.append(dict(execution))
        rows, recompute, error = self.script.pop(0)
        events = []
        (out / files.ERROR).unlink(missing_ok=True)
        if rows:
            events = [
                {"event": "start", "micro_batch_size": rows, "gradient_checkpointing": recompute}
            ]
        if error == "done":
            (out / RESULT).write_text("{}")
        elif error:
            (out / files.ERROR).write_text(json.dumps(error))
        return events


def scripted(*script):
    trainer = Scripted()
    object.__setattr__(trainer, "script", list(script))
    object.__setattr__(trainer, "seen", [])
    return trainer


MEMORY = {"kind": "memory", "message": "out of memory"}


def test_when_memory_runs_out_it_goes_on_with_fewer_rows_and_says_so(tmp_path, job):
    trainer = scripted((4, False, MEMORY), (2, False, None), (1, False, MEMORY), (1, True, "done"))
    model = trainer(job, tmp_path / "out")
    assert [s["micro_batch_size"] for s in trainer.seen] == [0, 2, 1, 1]
    assert [s["recompute"] for s in trainer.seen] == [False, False, False, True]
    notes = result(tmp_path / "out")["execution"]["notes"]
    assert "2 rows at a time instead of 4" in notes[0]
    assert "killed" in notes[1]
    assert "recomputed" in notes[2]
    assert model.path.endswith("model")


def test_when_nothing_is_left_to_save_memory_it_gives_up_with_advice(tmp_path, job):
    with pytest.raises(TrainingError, match=r"one row at a time\. Lower max_length"):
        scripted((1, True, MEMORY))(job, tmp_path / "out")


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        ((4, False, {"kind": "mistake", "message": "choose"}), ConfigError, "^choose$"),
        ((4, False, {"kind": "error", "message": "nan"}), TrainingError, "failed: nan. The last"),
        ((0, False, None), TrainingError, "the process died"),
        (
            (4, False, {"kind": "error", "message": "x: No space left on device"}),
            DiskError,
            "free some space",
        ),
        ((4, False, {"kind": "disk", "message": "unexpected pos 5"}), DiskError, "unexpected pos"),
    ],
)
def test_what_cannot_be_helped_is_one_clear_error(tmp_path, job, script, error, words):
    with pytest.raises(error, match=words):
        scripted(script)(job, tmp_path / "out")


def test_it_does_not_start_for_ever(tmp_path, job):
    many = [(4096, False, None)] * LAUNCHES
    with pytest.raises(TrainingError, match=f"started {LAUNCHES} times"):
        scripted(*many)(job, tmp_path / "out")


def test_how_a_job_is_carried_out_is_not_identity_and_fakes_are_refused(tmp_path):
    assert canonical(LocalTrainer(num_processes=4)) is None
    assert canonical(open_trainer(fake=True)) == "fake"
    with pytest.raises(ConfigError, match="a name for dry runs"):
        LocalTrainer(threads=1)(TrainJob("merge", Model("fake")), tmp_path)
