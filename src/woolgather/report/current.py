"""Is there anything new to report of a run? Known without drawing the page.

The one idea: launches that remembered everything leave the report as it is.
"""

from __future__ import annotations

from pathlib import Path

from woolgather.report.headroom import FILE
from woolgather.runs.record import RunRecord, launch_path, read_launches


def is_current(run_dir: Path) -> bool:
    """Returns whether RUN/report.html says what a new report would, but for its list of launches: since
    it was written, launches remembered everything, with the same settings and the same code."""
    written, launches = run_dir / "report.html", read_launches(run_dir)
    if not launches or not written.is_file():
        return False
    if (kept := run_dir / FILE).is_file() and kept.stat().st_mtime > written.stat().st_mtime:
        return False
    latest = launches[-1]
    for launch in reversed(launches):
        same = launch.config == latest.config and _code(launch) == _code(latest)
        if launch.status != "finished" or not same:
            return False
        if any(entry["state"] != "remembered" for entry in launch.steps):
            record = launch_path(run_dir, launch.launch)
            return launch is not latest and record.stat().st_mtime <= written.stat().st_mtime
    return False


def _code(launch: RunRecord) -> object:
    """What a launch ran with; nothing that equals another where the code is under work."""
    found = {key: value for key, value in launch.provenance.items() if key != "argv"}
    git = found.get("git")
    return object() if isinstance(git, dict) and git.get("dirty") else found
