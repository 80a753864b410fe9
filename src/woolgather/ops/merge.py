"""An adapter and its base become one self-contained model directory.

Whatever starts from a previous model starts from the merged one; the last merge of a run is its
result. The sum is done in float32 and saved in the base's precision.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from woolgather.artifacts import Model
from woolgather.expect import Expected, expects
from woolgather.training.job import Trainer, TrainJob


def _work(model: Model, **_: Any) -> Expected:
    path = Path(model.path)
    weights = list(path.glob("*.safetensors")) if path.is_dir() else []
    return Expected(disk_bytes=sum(f.stat().st_size for f in weights))


@expects(_work)
def merge(model: Model, *, trainer: Trainer, out: Path, scale: float = 1.0) -> Model:
    """`model` as a plain Hugging Face directory with tokenizer, template and generation config.

    `scale` is the adapter's dial: 0 is the base, 1 the trained model. A model without an adapter is
    copied. Raises TrainingError when the process fails."""
    return trainer(TrainJob("merge", model, None, {"scale": scale}), out)
