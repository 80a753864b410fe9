"""Which headroom a launch goes by: the one that is named, or the one in the run's own directory.

The one idea: a headroom speaks of one base. That of another would promise what is not there.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from woolgather.core.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from woolgather.engines.base import EngineOptions
    from woolgather.runs.record import StepRecord

OWN = "headroom"
"""Name of the recipe, and of the directory within a run that is looked into where none is named."""


def find_headroom(
    named: Path | None, run_dir: Path, config: BaseModel, options: EngineOptions
) -> tuple[Path, StepRecord] | None:
    """Returns the directory of the headroom that goes with a run, and its summary: `named`, or
    RUN/headroom where that is one; None without either. Raises ConfigError for a directory that holds no
    finished headroom, and for a headroom of another base."""
    from woolgather.runs.record import RUN, current_steps, read_run

    folder = named or run_dir / OWN
    if not (folder / RUN).is_file():
        if named is None:
            return None
        raise ConfigError(
            f"--headroom {folder}: is no run directory. Give the one that `woolgather headroom` wrote to."
        )
    recipe = read_run(folder).get("recipe")
    if recipe != OWN:
        raise ConfigError(
            f"--headroom {folder}: is a run of {recipe!r}. Give one that `woolgather headroom` wrote to."
        )
    records = [record for _, record in current_steps(folder)]
    summary = next((record for record in records if record.concludes), None)
    if summary is None:
        raise ConfigError(
            f"--headroom {folder}: has not ended. Give its command again, which goes on with it."
        )
    known = {key for r in records for key, made in r.inputs.items() if made.get("step") == "base"}
    if _find_base(config, options) not in known:
        raise ConfigError(
            f"--headroom {folder}: is of another base than this run, or of the same with another chat "
            "template. Run `woolgather headroom` with this run's base, or leave --headroom out"
            + ("." if named else f", and move {folder} elsewhere.")
        )
    return folder, summary


def _find_base(config: BaseModel, options: EngineOptions) -> str:
    """Returns the fingerprint of a run's base as the run asks it. Raises ConfigError for a recipe without
    one, InputError for a base that cannot be opened."""
    from woolgather.models.open import open_model
    from woolgather.runs.models import RunModels

    base = getattr(config, "base", None)
    if base is None:
        raise ConfigError("--headroom: this recipe has no setting `base`. Leave the option out.")
    template = getattr(getattr(config, "chat_template", None), "text", "")
    return RunModels(options).bring("base", base, open_model(base), template).fingerprint
