"""How a model is changed: a TrainJob (data) is carried out by a launched worker process."""

from __future__ import annotations

from collections.abc import Callable

from woolgather.core.rows import JSON
from woolgather.training.job import Trainer
from woolgather.training.nodes import Meeting
from woolgather.training.trackers import NOWHERE, Tracking


def open_trainer(
    fake: bool,
    processes: int = 1,
    on_progress: Callable[[dict[str, JSON]], None] | None = None,
    accelerate: str = "ddp",
    nodes: int = 1,
    meeting: Meeting | None = None,
    tracking: Tracking = NOWHERE,
) -> Trainer:
    """Returns the trainer of this machine, with `processes` that train together as `accelerate` says, or
    the fake one, which tells no tracker. `meeting` gathers the other ones of `nodes` machines. Raises
    ConfigError for a layout that is not known."""
    if fake:
        from woolgather.training.fake import FakeTrainer

        return FakeTrainer()
    from woolgather.training.launch import LocalTrainer
    from woolgather.training.layouts import read_layout

    layout = read_layout(accelerate, processes, nodes)
    return LocalTrainer(layout, meeting, on_progress, tracking=tracking)
