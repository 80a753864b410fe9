"""How the processes that train together share the work, and the files that tell `accelerate` so.

The one idea: whatever the layout, the same updates are made of the same rows; it only says who holds
what, so nothing of it is identity. A file of the user's is read here, before any work, for what the
worker is to find itself in.
"""

from __future__ import annotations

import ast
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal, get_args

import yaml

from woolgather.core.errors import ConfigError
from woolgather.core.machine_speed import Precision
from woolgather.core.rows import JSON
from woolgather.core.storage import write_json
from woolgather.training.nodes import Spot

Sharding = Literal["ddp", "fsdp2", "zero2", "zero3"]
SHARDINGS: tuple[Sharding, ...] = get_args(Sharding)
_TYPES: Mapping[str, tuple[str, ...]] = {
    "ddp": ("MULTI_GPU", "MULTI_CPU", "NO"),
    "fsdp2": ("FSDP",),
    "zero2": ("DEEPSPEED",),
    "zero3": ("DEEPSPEED",),
}
"""By layout: what accelerate calls it (`distributed_type`)."""
FILE, ZERO_FILE = "accelerate.yaml", "deepspeed.json"
"""The files of ours, beside the job."""


@dataclass(frozen=True)
class ProcessLayout:
    """Who holds what, in how many processes on how many machines."""

    sharding: Sharding = "ddp"
    processes: int = 1
    """On all machines together."""
    machines: int = 1
    file: Path | None = None
    """A configuration of the user's for accelerate, where there is one."""

    @property
    def here(self) -> int:
        """Returns the processes on this machine."""
        return max(1, self.processes // self.machines)


ALONE = ProcessLayout()


def read_layout(accelerate: str, processes: int = 1, nodes: int = 1) -> ProcessLayout:
    """Returns what `--accelerate`, `--processes` and `--nodes` ask for: one of `SHARDINGS`, or the path
    of a configuration of accelerate. Raises ConfigError for what is neither, for a file that accelerate
    could not read or that says other numbers, and for processes that machines cannot share evenly."""
    if processes < 1:
        raise ConfigError(f"--processes {processes}: give a number from 1 on.")
    layout = _read_layout(accelerate, processes, nodes)
    if layout.processes % layout.machines:
        raise ConfigError(
            f"--processes {layout.processes}: it counts those of all machines, and {layout.machines} "
            "cannot share them evenly. Choose a multiple of --nodes."
        )
    return layout


def _read_layout(accelerate: str, processes: int, nodes: int) -> ProcessLayout:
    if accelerate in SHARDINGS:
        name = next(name for name in SHARDINGS if name == accelerate)
        return ProcessLayout(name, processes, nodes)
    path = Path(accelerate)
    if not path.is_file():
        raise ConfigError(
            f"--accelerate {accelerate}: neither one of {', '.join(SHARDINGS)} nor a file that is "
            "there. Give a name, or the path of a configuration that `accelerate config` wrote."
        )
    told = _read_file(path)
    count, machines = (_whole(path, told, name) for name in ("num_processes", "num_machines"))
    if processes not in (1, count):
        raise ConfigError(
            f"--processes {processes}: {path} says num_processes: {count}. Leave the option out, or "
            "make them the same."
        )
    if machines != nodes:
        raise ConfigError(
            f"--nodes {nodes}: {path} says num_machines: {machines}. Make them the same."
        )
    return ProcessLayout(_sharding(path, told), count, machines, path)


def not_sharded(sharding: str, because: str) -> str:
    """Returns the message that a layout for GPUs cannot be had."""
    return (
        f"--accelerate {sharding} shares weights out among GPUs, and {because}: on a CPU train with "
        "--accelerate ddp."
    )


def distributed_types(sharding: Sharding) -> tuple[str, ...]:
    """Returns the names that accelerate may have for a layout."""
    return _TYPES[sharding]


def write_layout(layout: ProcessLayout, folder: Path, precision: Precision) -> Path:
    """Write a configuration for accelerate that shards as the layout says; returns its path. The
    user's own file is returned as it is."""
    if layout.file is not None:
        return layout.file
    told: dict[str, JSON] = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": _TYPES[layout.sharding][0],
        "machine_rank": 0,
        "main_training_function": "main",
        "num_machines": layout.machines,
        "num_processes": layout.processes,
        "use_cpu": False,
    }
    if layout.sharding == "fsdp2":
        told |= {"mixed_precision": "bf16" if precision == "bfloat16" else "no"}
        told["fsdp_config"] = _fsdp2()
    elif layout.sharding in ("zero2", "zero3"):
        stage = 3 if layout.sharding == "zero3" else 2
        write_json(folder / ZERO_FILE, _zero(stage))
        # Precision and sizes are "auto" in the file, so that the trainer's own settings fill them.
        told["deepspeed_config"] = {
            "deepspeed_config_file": str(folder / ZERO_FILE),
            "zero3_init_flag": stage == 3,
        }
    path = folder / FILE
    path.write_text(yaml.safe_dump(told), encoding="utf-8")
    return path


def launch_args(layout: ProcessLayout, folder: Path, spot: Spot) -> list[str]:
    """Returns the arguments for Python that start this machine's processes, up to the program's own.
    `folder` has what `write_layout` left."""
    meet = [str(spot.port), str(spot.host), str(spot.rank)]
    if layout.sharding == "ddp" and layout.file is None:
        named = zip(("--master_port", "--master_addr", "--node_rank"), meet, strict=True)
        how = ["torch.distributed.run", "--nnodes", str(layout.machines)]
        how += ["--nproc_per_node", str(layout.here), *chain.from_iterable(named)]
        return ["-m", *how, "-m"]
    how = ["accelerate.commands.launch", "--config_file", str(layout.file or folder / FILE)]
    how += ["--main_process_port", meet[0]]
    if layout.machines > 1:
        # On one network the processes meet at an address; otherwise accelerate asks a service for it.
        how += ["--main_process_ip", meet[1], "--machine_rank", meet[2], "--same_network"]
        # DeepSpeed's own launcher goes to the other machines over ssh; here each starts its own.
        if layout.sharding in ("zero2", "zero3"):
            how += ["--deepspeed_multinode_launcher", "standard"]
    return ["-m", *how, "-m"]


def _fsdp2() -> dict[str, JSON]:
    """Layers are shared out one by one, loaded from the first process and saved whole."""
    return {
        "fsdp_version": 2,
        "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "fsdp_reshard_after_forward": True,
        "fsdp_cpu_ram_efficient_loading": True,
        "fsdp_offload_params": False,
        "fsdp_state_dict_type": "FULL_STATE_DICT",
    }


def _zero(stage: int) -> dict[str, JSON]:
    """DeepSpeed's configuration; what is "auto" the trainer fills in."""
    shared: dict[str, JSON] = {
        "stage": stage,
        "overlap_comm": True,
        "contiguous_gradients": True,
        "reduce_bucket_size": "auto",
    }
    if stage == 3:
        shared |= {
            "stage3_prefetch_bucket_size": "auto",
            "stage3_param_persistence_threshold": "auto",
            "stage3_gather_16bit_weights_on_model_save": True,
        }
    return {
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "bf16": {"enabled": "auto"},
        "zero_optimization": shared,
        "zero_allow_untested_optimizer": True,
    }


def _read_file(path: Path) -> dict[str, JSON]:
    """Returns the fields of a configuration. Raises ConfigError for one that accelerate would refuse."""
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        told = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else getattr(error, "lineno", 1)
        raise ConfigError(
            f"--accelerate {path}, line {line}: it cannot be parsed "
            f"({getattr(error, 'problem', None) or getattr(error, 'msg', error)}). Mend it, or write a "
            "new one with `accelerate config`."
        ) from error
    if not isinstance(told, dict):
        raise ConfigError(
            f"--accelerate {path}: expected fields (distributed_type: ..., num_processes: ...), found "
            f"{type(told).__name__}. Write one with `accelerate config`."
        )
    known = _known_fields()
    strange = sorted(str(name) for name in told.keys() - known) if known else []
    if strange:
        raise ConfigError(
            f"--accelerate {path}: the installed accelerate has no field {strange[0]!r}. Take it out."
        )
    return told


def _sharding(path: Path, told: Mapping[str, JSON]) -> Sharding:
    """Returns the layout that the fields describe. Raises ConfigError for one that is not known here."""
    kind = told.get("distributed_type")
    if kind == "FSDP":
        if _inner(told, "fsdp_config").get("fsdp_version") != 2:
            raise ConfigError(
                f"--accelerate {path}, fsdp_config.fsdp_version: only version 2 can train an adapter "
                "beside weights of another precision. Write `fsdp_version: 2`."
            )
        return "fsdp2"
    if kind == "DEEPSPEED":
        stage = _zero_stage(path, _inner(told, "deepspeed_config"))
        if stage not in (1, 2, 3):
            raise ConfigError(
                f"--accelerate {path}, deepspeed_config: expected a ZeRO stage of 1, 2 or 3, found "
                f"{stage!r}. Write `zero_stage: 3`, or use --accelerate zero3."
            )
        return "zero3" if stage == 3 else "zero2"
    if kind in _TYPES["ddp"]:
        return "ddp"
    allowed = ", ".join(sorted({name for names in _TYPES.values() for name in names}))
    raise ConfigError(
        f"--accelerate {path}, distributed_type: {kind!r} is not one of {allowed}. Choose one of them."
    )


def _zero_stage(path: Path, told: Mapping[str, JSON]) -> JSON:
    file = told.get("deepspeed_config_file")
    if not isinstance(file, str):
        return told.get("zero_stage")
    try:
        inner = json.loads(Path(file).read_text(encoding="utf-8"))
        return dict(inner["zero_optimization"]).get("stage")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"--accelerate {path}, deepspeed_config.deepspeed_config_file: {file} cannot be read as a "
            "configuration of DeepSpeed with `zero_optimization`. Mend it, or leave it out."
        ) from error


def _inner(told: Mapping[str, JSON], name: str) -> dict[str, JSON]:
    found = told.get(name)
    return found if isinstance(found, dict) else {}


def _whole(path: Path, told: Mapping[str, JSON], name: str) -> int:
    """Returns a field that is a number from 1 on; machines are one unless they are named."""
    value = told.get(name, 1 if name == "num_machines" else None)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(
            f"--accelerate {path}, {name}: expected a whole number from 1 on, found {value!r}. "
            f"Write `{name}: 2`."
        )
    return value


def _known_fields() -> frozenset[str]:
    """Returns the fields of the installed accelerate's configurations, read from its source so that
    nothing heavy is imported; empty when it is not installed."""
    spec = importlib.util.find_spec("accelerate")
    places = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    sources = [place / "commands" / "config" / "config_args.py" for place in places]
    source = next((path for path in sources if path.is_file()), None)
    if source is None:
        return frozenset()
    parts = [
        part
        for node in ast.parse(source.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name in ("BaseConfig", "ClusterConfig")
        for part in node.body
    ]
    fields = (p.target for p in parts if isinstance(p, ast.AnnAssign))
    return frozenset(f.id for f in fields if isinstance(f, ast.Name)) | {"fp16", "dynamo_backend"}
