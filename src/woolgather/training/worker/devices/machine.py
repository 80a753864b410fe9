"""The device of a training: what it computes in, and the memory that it has.

The one idea: what cannot be had here is said before anything is loaded.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass

import psutil
import torch

from woolgather.core.errors import ConfigError
from woolgather.core.machine_speed import Precision, auto_precision
from woolgather.training.job import EIGHT_BITS, DpoOptions, SftOptions
from woolgather.training.job_file import Execution
from woolgather.training.layouts import Sharding, not_sharded
from woolgather.training.worker.devices.processes import world


@dataclass(frozen=True)
class Machine:
    """What this machine does for a job."""

    device: str
    """"cpu", or the name of the GPU."""
    on_cpu: bool
    precision: Precision
    """What is computed in."""
    processes: int
    sharding: Sharding = "ddp"
    """Which of them hold what."""
    quantized: bool = False
    """Whether the frozen base is in 4 bits."""
    not_quantized_because: str = ""
    """Why it is not, although it was asked for."""

    @property
    def low(self) -> bool:
        """Whether it computes in bfloat16."""
        return self.precision == "bfloat16"

    @property
    def free_bytes(self) -> float:
        """Memory that one process may fill now."""
        if self.on_cpu:
            here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
            return float(psutil.virtual_memory().available / here)
        return float(torch.cuda.mem_get_info()[0])


def find_machine(execution: Execution, config: SftOptions | DpoOptions) -> Machine:
    """Returns the device of this process. Raises ConfigError when there are fewer processes or devices
    than were asked for."""
    on_cpu = execution.cpu or not torch.cuda.is_available()
    processes, here = world(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if processes != execution.processes:
        raise ConfigError(
            f"{execution.processes} processes were asked for, and {processes} were started. On a CPU, "
            f"--accelerate ddp --processes {execution.processes} starts them all; one process alone "
            "uses all cores."
        )
    if not on_cpu and here > max(1, torch.cuda.device_count()):
        raise ConfigError(
            f"{here} processes were asked for on this machine, which has "
            f"{torch.cuda.device_count()} GPUs: set --processes to that number or fewer."
        )
    if on_cpu and execution.sharding != "ddp":
        raise ConfigError(not_sharded(execution.sharding, "torch finds none"))
    precision: Precision
    if config.precision == "auto":  # a job of no run, which would have said what it is
        precision = auto_precision("cpu" if on_cpu else "cuda", "training") or "float32"
    else:
        precision = config.precision
    asked = config.lora is not None and config.lora.four_bit
    if asked and execution.sharding != "ddp":
        raise ConfigError(
            f"lora.four_bit: a base in 4 bits is whole on each device, and --accelerate "
            f"{execution.sharding} shares it out. Leave one of the two out."
        )
    if config.optimizer in EIGHT_BITS:
        _check_eight_bits(config.optimizer, on_cpu)
    because = _why_not_quantized(on_cpu) if asked else ""
    return Machine(
        device="cpu" if on_cpu else torch.cuda.get_device_name(),
        on_cpu=on_cpu,
        precision=precision,
        processes=processes,
        sharding=execution.sharding,
        quantized=asked and not because,
        not_quantized_because=because,
    )


def _check_eight_bits(optimizer: str, on_cpu: bool) -> None:
    """Raises ConfigError where an optimizer with states in 8 bits cannot be had."""
    because = _why_not_quantized(on_cpu).replace("4 bits", "8 bits")
    if because:
        raise ConfigError(f"optimizer={optimizer}: {because}. Use optimizer=adamw_torch.")


def _why_not_quantized(on_cpu: bool) -> str:
    """Returns why a base cannot be in 4 bits here; empty where it can."""
    if on_cpu:
        return "4 bits are for GPUs, and this is none"
    if importlib.util.find_spec("bitsandbytes") is None:
        return "bitsandbytes is not installed"
    return ""
