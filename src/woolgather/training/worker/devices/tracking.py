"""The child process that hands measures to a tracker; see training/trackers.py.

The one idea: accelerate knows the trackers; here lines of JSON (`values`, `step`) become its calls.
"""

from __future__ import annotations

import json
import sys

from woolgather.core import children


def main(name: str, project: str, logs: str) -> None:
    """Hands over each line of standard input until it ends."""
    from accelerate import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    PartialState(cpu=True)  # the trackers ask it which process they are in
    kind = LOGGER_TYPE_TO_CLASS[name]
    tracker = kind(project, logs) if kind.requires_logging_directory else kind(project)
    tracker.start()
    for line in sys.stdin:
        told = json.loads(line)
        tracker.log(told["values"], step=told["step"])
    tracker.finish()


if __name__ == "__main__":
    children.watch_parent()
    main(*sys.argv[1:])
