"""Settings that are passed on to TRL: which of its fields are free, and of what type each is.

The one idea: what is wrong with such a setting is said when it is read, hours before TRL would see it.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import importlib.util
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Literal

from woolgather.core.errors import ConfigError

EXECUTION_ARGS = frozenset(
    {
        "per_device_eval_batch_size",
        "gradient_checkpointing_kwargs",
        "dataloader_num_workers",
        "dataloader_pin_memory",
        "dataset_num_proc",
        "report_to",
        "use_cpu",
        "deepspeed",
        "fsdp",
        "torch_compile",
    }
)
"""Fields of TRL's config that change how a job runs and not what comes out."""

OURS = {
    "learning_rate": "learning_rate",
    "lr_scheduler_type": "schedule",
    "warmup_steps": "warmup_updates",
    "num_train_epochs": "epochs",
    "max_steps": "max_updates",
    "max_length": "max_length",
    "weight_decay": "weight_decay",
    "optim": "optimizer",
    "bf16": "precision",
    "fp16": "precision",
    "tf32": "precision",
    "per_device_train_batch_size": "micro_batch_size",
    "gradient_accumulation_steps": "batch_size",
    "gradient_checkpointing": "gradient_checkpointing",
}
"""Fields of TRL's configs with a setting of our own, which has to be used instead."""
DPO_OURS = {"beta": "beta", "loss_type": "loss", "loss_weights": "nll_weight"}
"""The same for DPOConfig alone."""
_FIXED = frozenset(
    {
        "output_dir",
        "seed",
        "data_seed",
        "pad_token",
        "model_init_kwargs",
        "remove_unused_columns",
        "resume_from_checkpoint",
        "save_strategy",
        "save_steps",
        "save_total_limit",
        "logging_strategy",
        "logging_steps",
        "eval_strategy",
        "auto_find_batch_size",
        "do_train",
        "do_eval",
        "do_predict",
        "push_to_hub",
        "trust_remote_code",
    }
)
FIXED = _FIXED | {
    "dataset_kwargs",
    "dataset_text_field",
    "completion_only_loss",
    "assistant_only_loss",
    "chat_template_path",
    "eos_token",
    "shuffle_dataset",
}
"""Fields of SFTConfig that woolgather sets itself: rows come rendered, tokenized and labelled."""
DPO_FIXED = _FIXED | {
    "truncation_mode",
    "padding_free",
    "precompute_ref_log_probs",
    "precompute_ref_batch_size",
    "sync_ref_model",
    "ref_model_mixup_alpha",
    "ref_model_sync_steps",
}
"""The same of DPOConfig: the opponent is frozen and named by the job."""
TrlConfig = Literal["SFTConfig", "DPOConfig"]
_PLAIN_NAMES = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "list": "a list",
    "dict": "a mapping",
    "None": "null",
}
"""The types of YAML, as messages name them."""
_PLAIN = _PLAIN_NAMES.keys()
_FROM_TEXT: Mapping[str, Callable[[str], object]] = {
    "int": int,
    "float": float,
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
}
_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


@cache
def read_fields(config: TrlConfig = "SFTConfig") -> Mapping[str, frozenset[str]]:
    """Returns the fields of the installed TRL's config and the types that each takes, read from its
    source so that nothing heavy is imported; empty when TRL is not installed."""
    found: dict[str, frozenset[str]] = {}
    for package, file in (
        ("transformers", "training_args.py"),
        ("trl", "trainer/base_config.py"),
        ("trl", f"trainer/{config[:3].lower()}_config.py"),
    ):
        spec = importlib.util.find_spec(package)
        places = list(spec.submodule_search_locations or ()) if spec else []
        source = next((p for place in places if (p := Path(place, file)).is_file()), None)
        if source is None:
            return {}
        for node in ast.parse(source.read_text(encoding="utf-8")).body:
            for part in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
                    found[part.target.id] = frozenset(_types_in(part.annotation))
    return {name: types for name, types in found.items() if not name.startswith("_")}


def read_args(args: Mapping[str, object], config: TrlConfig = "SFTConfig") -> dict[str, object]:
    """Returns `args` with each value of the type that its field has: YAML reads 5e-1 as text.

    Raises ConfigError for a field that the installed config lacks, for one that is not free, and for a
    value that the field does not take."""
    ours, fixed = OURS, FIXED
    if config == "DPOConfig":
        ours, fixed = OURS | DPO_OURS, DPO_FIXED
    known = read_fields(config)
    typed: dict[str, object] = {}
    for name, value in args.items():
        if name in ours:
            raise ConfigError(f"args.{name}: set `{ours[name]}` instead.")
        if name in fixed:
            raise ConfigError(f"args.{name} is set by woolgather and cannot be given.")
        if known and name not in known:
            near = difflib.get_close_matches(name, known.keys() - fixed - ours.keys(), n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigError(
                f"args.{name}: TRL {metadata.version('trl')} has no such field in {config}.{hint}"
            )
        typed[name] = _cast(name, value, known[name]) if known else value
    return typed


def _types_in(annotation: ast.expr) -> Iterator[str]:
    """Yields the names of the types that an annotation allows, without what is in their brackets."""
    if isinstance(annotation, ast.BinOp):
        yield from _types_in(annotation.left)
        yield from _types_in(annotation.right)
    elif isinstance(annotation, ast.Subscript):
        name = ast.unparse(annotation.value)
        inner = annotation.slice
        parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
        if name in ("Union", "Optional"):
            yield from (found for part in parts for found in _types_in(part))
            yield from ("None",) * (name == "Optional")
        elif name == "Literal":
            yield from {"bool" if isinstance(v, bool) else type(v).__name__ for v in _values(parts)}
        else:
            yield name
    else:
        yield ast.unparse(annotation)


def _values(parts: Iterable[ast.expr]) -> Iterator[object]:
    yield from (part.value for part in parts if isinstance(part, ast.Constant))


def _cast(name: str, value: object, types: frozenset[str]) -> object:
    """Returns a value as its field takes it. Raises ConfigError where it does not."""
    kind = "None" if value is None else type(value).__name__
    if kind in types or (kind == "int" and "float" in types) or not types & _PLAIN:
        return _with_numbers(value) if isinstance(value, dict) else value
    if isinstance(value, tuple) and "list" in types:
        return list(value)
    if isinstance(value, float) and value.is_integer() and "int" in types:
        return int(value)
    for wanted in ("int", "float", "bool") if isinstance(value, str) else ():
        with contextlib.suppress(ValueError, KeyError):
            if wanted in types:
                return _FROM_TEXT[wanted](str(value).strip())
    takes = " or ".join(_PLAIN_NAMES[t] for t in _PLAIN_NAMES if t in types)
    raise ConfigError(f"args.{name}: it takes {takes}, and {value!r} was given.")


def _with_numbers(value: object) -> object:
    """Returns free settings in which numbers with an exponent are numbers; YAML reads 1e-6 as text."""
    if isinstance(value, dict):
        return {key: _with_numbers(inner) for key, inner in value.items()}
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value
