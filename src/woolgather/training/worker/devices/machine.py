"""The device of a training: what it computes in, and the memory that it has.

The one idea: what cannot be had here is said before anything is loaded.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

import psutil
import torch

from woolgather.core.errors import ConfigError
from woolgather.core.machine_speed import Precision, auto_precision
from woolgather.training.job import DpoOptions, SftOptions
from woolgather.training.job_file import Execution
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
            return float(psutil.virtual_memory().available / self.processes)
        return float(torch.cuda.mem_get_info()[0])


def find_machine(execution: Execution, config: SftOptions | DpoOptions) -> Machine:
    """Raises ConfigError when there are fewer devices than were asked for."""
    on_cpu = execution.cpu or not torch.cuda.is_available()
    processes = world()
    if processes < (execution.processes or 1):
        raise ConfigError(
            f"{execution.processes} processes were asked for, and there are devices for {processes}. "
            "One process uses all cores of a CPU: set processes to 1."
        )
    precision: Precision
    if config.precision == "auto":  # a job of no run, which would have said what it is
        precision = auto_precision("cpu" if on_cpu else "cuda", "training") or "float32"
    else:
        precision = config.precision
    asked = config.lora is not None and config.lora.four_bit
    because = _why_not_quantized(on_cpu) if asked else ""
    return Machine(
        device="cpu" if on_cpu else torch.cuda.get_device_name(),
        on_cpu=on_cpu,
        precision=precision,
        processes=processes,
        quantized=asked and not because,
        not_quantized_because=because,
    )


def _why_not_quantized(on_cpu: bool) -> str:
    """Returns why a base cannot be in 4 bits here; empty where it can."""
    if on_cpu:
        return "4 bits are for GPUs, and this is none"
    if importlib.util.find_spec("bitsandbytes") is None:
        return "bitsandbytes is not installed"
    return ""
