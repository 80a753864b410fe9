"""The model after one epoch of a training that kept one of each, as a step of its own.

The one idea: a training step has one result, its last model. What it kept on the way becomes models that
are measured, compared and merged like any other, each remembered under a name.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError
from woolgather.core.op import op
from woolgather.training.job import MARKER, MODEL, epoch_dir


@op("take_epoch")
def take_epoch(tuned: Model, *, epoch: int, out: Path = Path()) -> Model:
    """Returns the model after `epoch` (from 1) of the training that made `tuned`; its files are shared
    with those of the training's step where the disk has hard links. Raises ConfigError where that
    training kept none."""
    places = (epoch_dir(place, epoch) for place in Path(tuned.path).parents)
    kept = next((place for place in places if place.is_dir()), None)
    if kept is None:
        raise ConfigError(
            f"keep_epochs: the training that made {tuned.path} kept no model of epoch {epoch}. Set "
            "keep_epochs=false, or train again (--redo with the name of the training's step)."
        )
    target = out / MODEL / kept.name
    marker = shutil.ignore_patterns(MARKER)
    shutil.copytree(kept, target, ignore=marker, copy_function=_link)
    return replace(tuned, path=str(target), fingerprint="", views=(), digest="")


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
