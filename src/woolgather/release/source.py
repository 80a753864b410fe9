"""Where a run's models come from, in words that may be published: base, licence, seeds, machine names
left behind.

The one idea: a name from outside is told without the folders it lay in. A base and its licence are told
where they are known and never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from woolgather.core.rows import JSON
from woolgather.report.collect import RunReport
from woolgather.report.lineage import inputs_of
from woolgather.report.text import number

EMBEDDED = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""What `base=embedded` is on the hub."""
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_WAIT = 5.0
"""Seconds that the hub has to answer when a base's card is asked for."""


@dataclass(frozen=True)
class Base:
    """The model that a run began with."""

    name: str
    """For people."""
    repo: str = ""
    """`owner/name` on the hub; empty for a base that is not from there."""
    revision: str = ""
    """Branch, tag or commit, as the run named it; empty for the newest."""
    licence: str = ""
    """As its own card has it; empty where that is not known."""


def base_of(config: Mapping[str, JSON]) -> Base:
    """Returns the base that a run's settings name, with the licence on its card: in its folder, in the
    hub's cache, or on the hub where that answers."""
    given = config.get("base")
    name = str(given.get("path", "") if isinstance(given, Mapping) else given or "")
    if name == "embedded":
        return Base(f"{EMBEDDED} (from weights of 4 bits)", EMBEDDED, licence="apache-2.0")
    folder = Path(name).expanduser()
    if folder.is_dir():
        return Base(folder.name, licence=_read_licence(folder / "README.md"))
    repo, _, revision = name.partition("@")
    if not _HUB_NAME.fullmatch(repo):
        return Base(without_folders(name) or "not named")
    return Base(repo, repo, revision, _ask_licence(repo, revision))


def without_folders(value: JSON) -> JSON:
    """Returns a setting in which every path of a machine is the file's name alone."""
    if isinstance(value, Mapping):
        return {key: without_folders(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(inner) for inner in value]
    if isinstance(value, str) and re.match(r"(?:/|~|\.{1,2}/|[A-Za-z]:[\\/])\S", value):
        return re.split(r"[\\/]", value.rstrip("/\\"))[-1]
    return value


def describe_inputs(run: RunReport) -> list[tuple[str, str]]:
    """Returns what the run was given from outside as (role, what it is with its rows and hash)."""
    steps = [(step.entry, step.record) for step in run.steps]
    config = run.last.config if run.last and isinstance(run.last.config, Mapping) else {}
    return [
        (role, f"{_name_input(_find_setting(config, role))}, {_count(path)}, `{print_}`")
        for path in inputs_of(run.path, steps)
        for role, _, print_ in [path.name.rpartition("-")]
    ]


def name_replayed(config: Mapping[str, JSON]) -> str:
    """Returns the rows of the user's own that a run's settings keep in every training, without their
    folders; empty where there are none."""
    named = _find_setting(config, "replay")
    return _name_input(named) if named else ""


def _find_setting(config: Mapping[str, JSON], role: str) -> JSON:
    """The setting that names an input: one of the recipe's own, or one in its group `mix`."""
    mix = config.get("mix")
    return config.get(role, mix.get(role) if isinstance(mix, Mapping) else None)


def _name_input(setting: JSON) -> str:
    """What the user named; empty settings stand for what comes with woolgather."""
    named = setting if isinstance(setting, Sequence) and not isinstance(setting, str) else [setting]
    told = [str(without_folders(each)) for each in named if each]
    return ", ".join(told) or "comes with woolgather"


def _count(folder: Path) -> str:
    import pyarrow.parquet as pq

    shards = list(folder.glob("part-*.parquet"))
    if not shards:
        return "texts"
    return f"{number(sum(pq.read_metadata(shard).num_rows for shard in shards))} rows"


def _ask_licence(repo: str, revision: str) -> str:
    from huggingface_hub import hf_hub_download

    try:
        card = hf_hub_download(repo, "README.md", revision=revision or None, etag_timeout=_WAIT)
    except Exception:  # not there, not for us, or no network: then it is not known
        return ""
    return _read_licence(Path(card))


def _read_licence(card: Path) -> str:
    import yaml

    try:
        text = card.read_text(encoding="utf-8")
        found = re.match(r"---\n(.*?)\n---", text, re.S)
        head = yaml.safe_load(found[1]) if found else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return ""
    licence = head.get("license") if isinstance(head, dict) else None
    return licence if isinstance(licence, str) else ""
