"""What earlier attempts at a job have left: a checkpoint to go on from, or all that it was to make.

The one idea: attempts are sibling directories that share a job's identity; what is taken from one is
copied or moved as a whole, and what is marked complete last is taken last.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from woolgather.core.errors import no_room
from woolgather.core.fingerprint import canonical, fingerprint
from woolgather.core.storage import digest
from woolgather.training.checkpoints import (
    CHECKPOINTS,
    JOB,
    LOG,
    checkpoints,
    is_complete,
    kept_models,
    opponent_dir,
)
from woolgather.training.job import CURVES, EPOCHS, MODEL, RESULT, TrainJob


def job_identity(job: TrainJob) -> str:
    """What two attempts must share for one to go on from the other's checkpoint."""
    opponent = job.reference
    return fingerprint(
        canonical(
            {
                "kind": job.kind,
                "start": job.start.fingerprint or job.start.path,
                "data": digest(job.data) if job.data else None,
                "config": job.options,
                "seed": job.seed,
                **({"reference": opponent.fingerprint or opponent.path} if opponent else {}),
            }
        )
    )


def find_checkpoint(out: Path, identity: str) -> str | None:
    """A complete checkpoint in `out`: the latest there or in another attempt, then copied, like the
    models that were kept on the way to it. What the opponent said is copied with or without one."""
    attempts = sorted(out.parent.glob("attempt-*")) if out.name.startswith("attempt-") else [out]
    asked = opponent_dir(out)
    for folder in map(opponent_dir, attempts):
        if is_complete(folder, identity) and not is_complete(asked, identity):
            _copy(folder, asked)
    found = sorted(checkpoints(attempts, identity), key=lambda c: (c[0], c[1].parts))
    for update, path in reversed(found):
        target = out / CHECKPOINTS / f"checkpoint-{update}"
        if path != target and not _copy(path, target):
            continue  # removed meanwhile by whoever made it: take the one before
        for kept in (
            k for attempt in attempts if attempt != out for k in kept_models(attempt, identity)
        ):
            place = out / kept.relative_to(kept.parents[1])
            if not place.exists():
                _copy(kept, place)
        return str(target)
    return None


def _copy(folder: Path, target: Path) -> bool:
    """Makes `target` a copy of the folder, as a whole or not at all; returns whether it is there.
    Raises OSError where there is no room."""
    half = target.with_name(f".copy-{target.name}")
    shutil.rmtree(half, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)
    try:
        shutil.copytree(folder, half)
    except (OSError, shutil.Error) as error:
        shutil.rmtree(half, ignore_errors=True)
        if no_room(error):
            raise
        return False
    half.replace(target)
    return True


def take_over(out: Path, identity: str) -> bool:
    """Whether an earlier attempt at this job ended well and was killed, or met a full disk, before
    its step was recorded; what it left is then in `out`. The model is moved first, and the result
    that marks it finished last."""
    if not out.name.startswith("attempt-"):
        return False
    for place in (out.parent, *sorted(out.parent.glob("attempt-*"))):
        whole = (place / RESULT).is_file() and (place / MODEL).is_dir()
        if place == out or not whole or not (place / JOB).is_file():
            continue
        told = json.loads((place / JOB).read_text(encoding="utf-8"))
        if told.get("digest") != identity:
            continue
        for name in (MODEL, EPOCHS, CURVES, LOG, JOB, RESULT):
            if (place / name).exists():
                (place / name).replace(out / name)
        return True
    return False
