"""A release on disk: a folder per repository, complete and looked through.

    RELEASE/models/<name>/      files of a model, README.md, lineage.json
    RELEASE/data/               a Parquet file per step and split, README.md, lineage.json

The one idea: the same run makes the same bytes, so that what is on the hub already is not sent again.
Weights are linked, not copied, where the disk allows it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from woolgather.core.errors import ConfigError, InputError
from woolgather.core.storage import write_json
from woolgather.release.cards import Cards
from woolgather.release.parts import (
    RESULT,
    ReleasedModel,
    choose_models,
    is_method,
    list_models,
    made_from,
)
from woolgather.release.rows import write_configurations
from woolgather.release.scan import Scanner
from woolgather.release.sections import list_lineage
from woolgather.release.source import base_of
from woolgather.report.collect import RunReport, read_run_dir

CARD, LINEAGE = "README.md", "lineage.json"
SHOWN = 5
"""Findings that an error names."""
_LEFT = ("training_args.bin", ".cache", CARD)
"""What stays here of a model's folder; the card is written anew."""
_SETTINGS = (
    "config.json",
    "adapter_config.json",
    "tokenizer_config.json",
    "generation_config.json",
)
_NAMES = ("_name_or_path", "name_or_path", "base_model_name_or_path")
"""Fields of these files in which libraries note the folder that something was read from."""


@dataclass(frozen=True)
class Repository:
    """What becomes one repository of the hub."""

    kind: Literal["model", "dataset"]
    name: str
    """`owner/name`."""
    folder: Path

    @property
    def files(self) -> list[Path]:
        """Returns its files, in order of their names."""
        return sorted(p for p in self.folder.rglob("*") if p.is_file())

    @property
    def size(self) -> int:
        """Returns its bytes."""
        return sum(path.stat().st_size for path in self.files)


def write_release(
    run_dir: Path, out: Path, to: str, models: Sequence[str] = (RESULT,), *, data: bool = False
) -> list[Repository]:
    """Writes the models of these names, and with `data` the rows that the method's models were made
    from, as the repositories of `to`, an `owner/name`; returns them. What was in `out` is replaced.

    The result becomes `to`, another model `to` with its name, and the rows the data set `to`. Raises
    RunDirError for what is no run, ConfigError for `to`, and InputError for a model that the run does
    not have, where there are no rows, and where something must not go out."""
    check_name(to)
    run = read_run_dir(run_dir)
    chosen = choose_models(run, models)
    settings = run.last.config if run.last and isinstance(run.last.config, dict) else {}
    cards = Cards(run, base_of(settings), to if data else "")
    shutil.rmtree(out, ignore_errors=True)
    written = [_write_model(run, cards, model, out, to) for model in chosen]
    if data:
        written.append(_write_data(run, cards, chosen, out))
    _refuse_private(run_dir, out)
    return written


def check_name(to: str) -> None:
    """Raises ConfigError for what the hub does not take as `owner/name`."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    said = f"--to {to}: a name on the hub is owner/name, of letters, digits, -, _ and ., such as"
    example = "ann/sheep-135m."
    if not re.fullmatch(r"[^/]+/[^/]+", to):
        raise ConfigError(f"{said} {example}")
    try:
        validate_repo_id(to)
    except HFValidationError:
        raise ConfigError(f"{said} {example}") from None


def _write_model(
    run: RunReport, cards: Cards, model: ReleasedModel, out: Path, to: str
) -> Repository:
    name = model.name.replace("/", "-")
    repo, folder = to if model.name == RESULT else f"{to}-{name}", out / "models" / name
    check_name(repo)
    for source in sorted(p for p in model.folder.rglob("*") if p.is_file()):
        inside = source.relative_to(model.folder)
        if inside.parts[0] not in _LEFT:
            _bring(source, folder / inside)
    for settings in _SETTINGS:
        _forget_folders(folder / settings)
    _finish(run, folder, cards.write_model_card(model, repo))
    return Repository("model", repo, folder)


def _write_data(
    run: RunReport, cards: Cards, chosen: Sequence[ReleasedModel], out: Path
) -> Repository:
    folder = out / "data"
    models = [*chosen, *filter(is_method, list_models(run).values())]
    configurations = write_configurations(run, made_from(run, models), folder)
    if not configurations:
        raise InputError(f"{run.path}: no step with rows is finished; leave out --with-data.")
    _finish(run, folder, cards.write_data_card(configurations))
    return Repository("dataset", cards.data, folder)


def _finish(run: RunReport, folder: Path, card: str) -> None:
    (folder / CARD).write_text(card, encoding="utf-8")
    write_json(folder / LINEAGE, list_lineage(run))


def _bring(source: Path, target: Path) -> None:
    """Links a file, or copies it to another disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def _forget_folders(path: Path) -> None:
    """Takes the folders out of a file of settings; the run's own file, to which it may be linked,
    stays."""
    if not path.is_file():
        return
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return
    folders = [
        n for n in _NAMES if isinstance(told, dict) and os.path.isabs(str(told.get(n) or ""))
    ]
    if folders:
        path.unlink()
        write_json(path, {k: v for k, v in told.items() if k not in folders})


def _refuse_private(run_dir: Path, out: Path) -> None:
    found = list(Scanner([run_dir, out]).scan_folder(out))
    if found:
        shown = "\n".join(f"  {each}" for each in found[:SHOWN])
        more = f"\n  and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise InputError(
            f"{out}: nothing is sent, since it holds what should not leave this machine:\n{shown}{more}\n"
            "Take it out of the run (name files by relative paths, set such rows aside), or leave out "
            "--with-data where it stands in rows."
        )
