"""What the launcher decides, without a process: where to go on from, and what to do about a failure."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError, DiskError, TrainingError
from woolgather.core.fingerprint import canonical
from woolgather.ops.train.sft import encode, write_tokens
from woolgather.training import launch, open_trainer
from woolgather.training.attempts import find_checkpoint, job_identity
from woolgather.training.checkpoints import (
    CHECKPOINTS,
    ERROR,
    JOB,
    LOG,
    complete,
    opponent_dir,
)
from woolgather.training.job import RESULT, DpoOptions, MergeOptions, TrainJob
from woolgather.training.launch import LAUNCHES, LocalTrainer
from woolgather.training.layouts import ProcessLayout

from .launching import OPTIONS, ROWS, result


@pytest.fixture
def job(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    write_tokens(encode(ROWS, Model("fake")), data / "train")
    return TrainJob(OPTIONS, Model("some/model"), data, 1)


def checkpoint(out: Path, update: int, job: TrainJob, *, marked: bool = True) -> Path:
    folder = out / CHECKPOINTS / f"checkpoint-{update}"
    folder.mkdir(parents=True)
    (folder / "weights").write_text(str(update))
    if marked:
        complete(folder, update, job_identity(job))
    return folder


def test_a_new_attempt_starts_from_a_copy_of_the_last_complete_checkpoint(tmp_path, job):
    first, second, third = (tmp_path / f"attempt-{n}" for n in (1, 2, 3))
    checkpoint(first, 10, job)
    checkpoint(first, 20, job)
    checkpoint(second, 30, job, marked=False)
    found = find_checkpoint(third, job_identity(job))
    assert found == str(third / CHECKPOINTS / "checkpoint-20")
    assert (Path(found) / "weights").read_text() == "20"
    assert (first / CHECKPOINTS / "checkpoint-20").is_dir()
    assert find_checkpoint(third, job_identity(job)) == found
    assert find_checkpoint(third, "another job") is None


def test_what_the_opponent_said_is_brought_along_also_without_a_checkpoint(tmp_path, job):
    first, second, third = (opponent_dir(tmp_path / f"attempt-{n}") for n in (1, 2, 3))
    for folder in (first, second, third):
        folder.mkdir(parents=True)
        (folder / "train.parquet").write_text(folder.parts[-3])
    complete(second, 0, job_identity(job))
    assert find_checkpoint(tmp_path / "attempt-3", job_identity(job)) is None
    assert (third / "train.parquet").read_text() == "attempt-2"
    assert find_checkpoint(tmp_path / "attempt-3", "another job") is None


def finished_by(place: Path, identity: str) -> None:
    """What a worker that ended well leaves."""
    (place / "model").mkdir(parents=True)
    (place / "model" / "weights").write_text("trained")
    (place / JOB).write_text(json.dumps({"digest": identity}))
    (place / LOG).write_text("the log")
    (place / RESULT).write_text(json.dumps({"updates": 60}))


@pytest.mark.parametrize("place", ["attempt-1", "."])
def test_what_an_earlier_attempt_finished_is_taken_over(tmp_path, job, place):
    """Its step was not recorded: killed, or no room for the record. In the second case what it made
    lies where the step's results belong."""
    finished_by(tmp_path / place, job_identity(job))
    trainer = scripted()
    model = trainer(job, tmp_path / "attempt-2")
    assert trainer.seen == []
    assert model.path == str(tmp_path / "attempt-2" / "model")
    assert (Path(model.path) / "weights").read_text() == "trained"
    assert result(tmp_path / "attempt-2")["updates"] == 60
    assert not (tmp_path / place / RESULT).exists()


@pytest.mark.parametrize("lacks", [RESULT, "model", JOB, "identity"])
def test_what_is_not_whole_or_another_job_is_not_taken_over(tmp_path, job, lacks):
    first = tmp_path / "attempt-1"
    finished_by(first, "another" if lacks == "identity" else job_identity(job))
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
        find_checkpoint(tmp_path / "attempt-2", job_identity(job))
    assert not list((tmp_path / "attempt-2" / CHECKPOINTS).iterdir())


def test_a_process_that_dies_without_a_word_on_a_full_disk(tmp_path, job, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=0))
    with pytest.raises(DiskError, match="no room left"):
        scripted((4, False, None))(job, tmp_path / "out")


def test_a_checkpoint_fits_the_same_job_only(job):
    same = OPTIONS.model_copy(update={"micro_batch_size": 4, "gradient_checkpointing": True})
    other = OPTIONS.model_copy(update={"learning_rate": 1.0})
    assert job_identity(replace(job, options=same)) == job_identity(job)
    assert job_identity(replace(job, options=other)) != job_identity(job)
    assert job_identity(replace(job, seed=2)) != job_identity(job)
    assert job_identity(replace(job, start=Model("another"))) != job_identity(job)


def test_a_checkpoint_fits_the_same_opponent_only(job):
    one, other = Model("one", "one"), Model("other", "other")
    first, again, second = (
        job_identity(TrainJob(DpoOptions(), job.start, job.data, 1, model))
        for model in (one, one, other)
    )
    assert first == again != second


class Scripted(LocalTrainer):
    """Launches nothing; each launch follows a script of (rows at once, error or None)."""

    script: list
    seen: list

    def _launch(self, job, out, identity, execution):
        self.seen.append(execution)
        rows, recompute, error = self.script.pop(0)
        events = []
        (out / ERROR).unlink(missing_ok=True)
        if rows:
            events = [
                {"event": "start", "micro_batch_size": rows, "gradient_checkpointing": recompute}
            ]
        if error == "done":
            (out / RESULT).write_text("{}")
        elif error:
            (out / ERROR).write_text(json.dumps(error))
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
    assert [s.micro_batch_size for s in trainer.seen] == [0, 2, 1, 1]
    assert [s.recompute for s in trainer.seen] == [False, False, False, True]
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
    assert canonical(LocalTrainer(ProcessLayout(processes=4))) is None
    assert canonical(open_trainer(fake=True)) == "fake"
    with pytest.raises(ConfigError, match="a name for dry runs"):
        LocalTrainer(threads=1)(TrainJob(MergeOptions(), Model("fake")), tmp_path)


@pytest.mark.parametrize(("told", "each"), [("", 3), ("4", 2), ("1", 1), ("4,2", 3)])
def test_processes_share_the_threads_that_we_may_use(monkeypatch, told, each):
    monkeypatch.setattr(launch, "count_cores", lambda: 7)
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert LocalTrainer()._threads(2) == each
    assert LocalTrainer(threads=5)._threads(2) == 5
