"""Training for dry runs and tests: a directory that says what would have been trained.

Its bytes follow from the job and nothing else, and its path holds the word fake, so that nothing made
from it passes for a real model.
"""

from __future__ import annotations

import json
from pathlib import Path

from woolgather.artifacts import Model
from woolgather.fingerprint import fingerprint
from woolgather.storage import digest
from woolgather.training.job import TrainJob
from woolgather.views import curve, table


class FakeTrainer:
    """A Trainer in seconds."""

    def __call__(self, job: TrainJob, out: Path) -> Model:
        folder = out / "model" / "fake"
        folder.mkdir(parents=True, exist_ok=True)
        data = digest(job.data) if job.data else ""
        stamp = {"kind": job.kind, "start": job.start.fingerprint, "data": data,
                 "config": dict(job.config), "seed": job.seed}  # fmt: skip
        text = json.dumps(stamp, sort_keys=True, indent=1)
        (folder / "fake.json").write_text(text + "\n", encoding="utf-8")
        if job.kind == "merge":
            return Model(str(folder), prompt_format="chat")
        start = 2.0 + int(fingerprint(stamp)[:4], 16) / 65536
        points = [(float(i), start / (1 + i / 10)) for i in range(1, 21)]
        views = (
            curve("Training loss", {"training": points}, x="update", y="loss"),
            table("Training", ["updates", "seconds"], [[20, 0]]),
        )
        return Model(str(folder), prompt_format="chat", views=views)

    def __canonical__(self) -> str:
        return "fake"
