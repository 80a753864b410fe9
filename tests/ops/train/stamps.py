"""What a fake trainer leaves, read back."""

import json
from pathlib import Path
from typing import Any

from woolgather.core.artifacts import Model
from woolgather.training.job import STAMP


def read_stamp(model: Model) -> dict[str, Any]:
    """Returns what a fake trainer wrote of the job that made `model`."""
    return dict(json.loads((Path(model.path) / STAMP).read_text(encoding="utf-8")))
