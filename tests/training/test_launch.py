"""Real training of a tiny model in a process of its own, killed and stopped on the way."""

import contextlib
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

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError
from woolgather.core.machine_speed import FORCED
from woolgather.core.rows import PreferencePair
from woolgather.core.storage import digest
from woolgather.ops.train.dpo import dpo
from woolgather.ops.train.merge import merge
from woolgather.ops.train.sft import sft
from woolgather.training.attempts import job_identity
from woolgather.training.checkpoints import CHECKPOINTS, JOB, checkpoints
from woolgather.training.job import CURVES, MARKER, RESULT, DpoOptions, TrainJob
from woolgather.training.launch import LocalTrainer

from .launching import OPTIONS, ROWS, UPDATES, result

pytestmark = pytest.mark.xdist_group("training")

STEP = """
    import sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from launching import OPTIONS, ROWS
    from woolgather.core.artifacts import Model
    from woolgather.ops.train.sft import sft
    from woolgather.training.launch import LocalTrainer
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
    assert not (trained[1] / CHECKPOINTS).exists()
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


def job_of(out: Path, start: Model) -> TrainJob:
    return TrainJob(OPTIONS, start, out / "data", 1)


def workers(out: Path) -> list[psutil.Process]:
    every = psutil.process_iter(["cmdline"])
    return [p for p in every if str(out / JOB) in (p.info["cmdline"] or [])]


class Enough(Exception):
    pass


def test_killed_and_stopped_it_ends_as_if_nothing_had_happened(trained, start, tmp_path):
    first, second, third = (tmp_path / f"attempt-{n}" for n in (1, 2, 3))
    first.mkdir()
    here = str(Path(__file__).parent)
    code = textwrap.dedent(STEP).format(tests=here, start=start.path, out=str(first))
    parent = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    complete = f"{CHECKPOINTS}/checkpoint-*/{MARKER}"
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
    stopped = dict(checkpoints([second], job_identity(job_of(second, start))))
    killed = dict(checkpoints([first], job_identity(job_of(first, start))))
    assert max(stopped) > max(killed)

    step(start, third)
    told = result(third)
    assert told["updates"] == UPDATES
    assert told["execution"]["resumed_from"] == max(stopped)
    assert losses(third) == pytest.approx(losses(trained[1]), rel=1e-3)


@pytest.mark.parametrize("forced", ["float32", "bfloat16"])
def test_either_answer_of_the_machine_trains_stops_and_resumes(
    forced, start, tmp_path, monkeypatch
):
    """`auto` of a job that no run has resolved becomes what the machine computes fast."""
    monkeypatch.setenv(FORCED, forced)
    assert LocalTrainer(cpu=True).precision() == forced
    options = OPTIONS.model_copy(update={"max_updates": 30})
    first, second = (tmp_path / f"attempt-{n}" for n in (1, 2))
    events = []

    def stop(event):
        events.append(event)
        if event["event"] == "update":
            raise Enough

    for out, report in ((first, stop), (second, None)):
        out.mkdir()
        trainer = LocalTrainer(cpu=True, threads=1, on_progress=report, checkpoint_every=0)
        with pytest.raises(Enough) if report else contextlib.nullcontext():
            sft(ROWS, start=start, config=options, trainer=trainer, out=out, seed=1)
    told = result(second)
    assert told["updates"] == 30
    assert 1 <= told["execution"]["resumed_from"] < 30
    assert told["execution"]["precision"] == forced
    assert all(0 < loss < 20 for loss in losses(second))


SMALL = """
    import sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from launching import OPTIONS, ROWS
    from woolgather.core.artifacts import Model
    from woolgather.core.errors import DiskError
    from woolgather.ops.train.sft import sft
    from woolgather.training.launch import LocalTrainer
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


PAIRS = [
    PreferencePair(instruction=row.instruction, chosen="the fox", rejected="brown " * (1 + n % 3))
    for n, row in enumerate(ROWS)
]


def preferred(start: Model, out: Path, reference: Model | None = None) -> Model:
    config = DpoOptions(learning_rate=2e-3, max_updates=6, batch_size=8, precision="float32")
    trainer = LocalTrainer(cpu=True, threads=1)
    return dpo(
        [PAIRS], start=start, reference=reference or start, config=config, trainer=trainer, out=out
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
