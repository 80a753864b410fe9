"""What a step is, read from a record of an earlier version as this version would have written it.

The one idea: a step is what it does, not how its arguments are cut or where its function lies. Nothing
on disk is rewritten; where the hash of the payload that was read so is that of the step, its record
stands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from woolgather.core.rows import JSON

_OURS = re.compile(r"woolgather\.ops\.\w+:(\w+)")
"""How an op of ours was named by its place. Those functions had the names that ops have now."""


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


_ASKED = _same("rubrics", "questions", "sampling")
GROUPED: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "adherence": {"how": {"rubric": "templates.rubric", "yes_no": "templates.yes_no"}},
    "align": {"how": _same("sampling", "nudge", "rules")},
    "ask_about": {
        "how": _same(
            "template", "format", "sampling", "rules", "novelty", "wave", "max_prompts", "minimum",
            "n",
        )
    },
    "audition": {
        "how": _same("candidates", "pairs", "probes", "on_unfit"),
        "asked": _ASKED,
        "sampled": {"samples": "samples", "sampling": "answers"},
    },
    "backtranslate": {"how": _same("template", "sampling", "rules", "novelty")},
    "brainstorm": {
        "how": _same("template", "format", "sampling", "rounds", "calls", "per_call", "max_words")
    },
    "evaluate": {"how": _same("probes", "max_tokens", "likelihood")},
    "evaluate_teacher": {"how": _same("sampling", "nudge")},
    "identity_rows": {"how": _same("repeats")},
    "judge": {"asked": _ASKED},
    "mix": {"limits": _same("max_length", "max_rows")},
    "pool": {"how": _same("min_tokens", "max_tokens", "limit")},
    "real_rows": {
        "limits": {"answer": "budget", "row": "max_length", "prompt": "max_prompt_length"}
    },
    "respond": {"how": {"sampling": "sampling", "samples": "n", "unfinished": "unfinished"}},
    "rewrite": {"how": _same("template", "sampling", "rules")},
    "synthesize": {
        "how": _same(
            "template", "format", "sampling", "rules", "novelty", "wave", "max_prompts", "minimum",
            "items", "demos",
        )
    },
    "win_rate": {"asked": _ASKED},
}  # fmt: skip
"""By op, and by the name of an argument that is a group of settings now: the group's fields, and the
arguments that they were before (`templates.rubric`: the entry `rubric` of the argument `templates`)."""
JOINED: Mapping[str, Mapping[str, str]] = {
    "dpo": {"pairs": "earlier"},
    "mix": {"kept": "history"},
}
"""By op, and by the name of an argument that holds the rows of all iterations now: the argument that
held those of the earlier ones, when the first held the newest alone."""
ZIPPED: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "summarize": {"rounds": ("rated", "kept", "portraits")}
}
"""By op, and by the name of an argument with an entry per iteration: the lists that it was before."""

CAME_LATER: Mapping[str, Mapping[str, JSON]] = {"mix": {"replay": []}}
"""By op: arguments that it did not have, with the value that makes no difference."""


def modern(payload: JSON) -> JSON:
    """Returns a step's payload as this version writes it; one of this version comes back as it is."""
    op = payload.get("op") if isinstance(payload, dict) else None
    if not isinstance(payload, dict) or not isinstance(op, str):
        return _settings(payload)
    placed = _OURS.fullmatch(op)
    name = placed.group(1) if placed else op
    found = {key: _settings(inner) for key, inner in payload.items()} | {"op": name}
    args = found.get("args")
    if isinstance(args, dict):
        found["args"] = _modern_arguments(name, args)
    return found


def _settings(value: JSON) -> JSON:
    if isinstance(value, dict):
        found = {key: _settings(inner) for key, inner in value.items()}
        if found.get("precision") == "auto":  # it was bfloat16 on every machine
            found["precision"] = "bfloat16"
        return found
    return [_settings(inner) for inner in value] if isinstance(value, list) else value


def _modern_arguments(op: str, args: dict[str, JSON]) -> dict[str, JSON]:
    """Returns the canonical arguments of `op` as this version has them; its own come back as they are."""
    args = _join(args, JOINED.get(op, {}))
    args = _zip(args, ZIPPED.get(op, {}))
    return {**CAME_LATER.get(op, {}), **_group(args, GROUPED.get(op, {}))}


def _group(args: dict[str, JSON], groups: Mapping[str, Mapping[str, str]]) -> dict[str, JSON]:
    """The arguments of an op, those that one group of settings holds now put into it."""
    for group, fields in groups.items():
        before = {place.partition(".")[0] for place in fields.values()}
        if group not in args and before <= args.keys():
            inside = {field: _at(args, place) for field, place in fields.items()}
            args = {k: v for k, v in args.items() if k not in before} | {group: inside}
    return args


def _at(args: dict[str, JSON], place: str) -> JSON:
    argument, dot, entry = place.partition(".")
    return args[argument][entry] if dot else args[argument]


def _join(args: dict[str, JSON], joined: Mapping[str, str]) -> dict[str, JSON]:
    """The arguments of an op, the rows of all iterations in one; a plain empty list held none."""
    for name, earlier in joined.items():
        if earlier in args:
            newest = [args[name]] if args[name] != [] else []
            rest = {key: value for key, value in args.items() if key != earlier}
            args = {**rest, name: [*args[earlier], *newest]}
    return args


def _zip(args: dict[str, JSON], zipped: Mapping[str, tuple[str, ...]]) -> dict[str, JSON]:
    """The arguments of an op, lists with an entry per iteration made one list of entries."""
    for name, lists in zipped.items():
        if all(each in args for each in lists):
            rest = {key: value for key, value in args.items() if key not in lists}
            entries = zip(*(args[each] for each in lists), strict=False)
            args = {**rest, name: [list(entry) for entry in entries]}
    return args
