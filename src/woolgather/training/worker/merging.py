"""An adapter and its base become one model directory, which holds its weights, tokenizer and template.

The one idea: the sum is made tensor by tensor (weights/sums.py), in no more memory than a few of them
take; a model that cannot be read so is loaded whole.
"""

from __future__ import annotations

import math
import shutil
import time
from pathlib import Path

import peft
import torch
import transformers
from huggingface_hub.serialization._base import parse_size_to_int

from woolgather.core.rows import JSON
from woolgather.prompting.renderer import Renderer
from woolgather.training.checkpoints import tidy_generation_config
from woolgather.training.job import MODEL, MergeOptions
from woolgather.training.job_file import WorkerJob
from woolgather.training.worker.adapter import scale_rows
from woolgather.training.worker.weights.files import write_entries
from woolgather.training.worker.weights.four_bits import check_merged
from woolgather.training.worker.weights.places import read_stored_dtype
from woolgather.training.worker.weights.sums import find_base, read_sum


def merge(job: WorkerJob) -> dict[str, JSON]:
    """Write base plus `scale` times the adapter, summed in float32 and stored in the base's dtype;
    returns what result.json says."""
    began = time.monotonic()
    options, folder = job.options, job.out / MODEL
    assert isinstance(options, MergeOptions)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    parameters, dtype = _write_sum(job.start.path, options, folder)
    # The base's may hold what transformers refuses to save; the renderer writes ours.
    transformers.GenerationConfig().save_pretrained(folder)
    renderer = Renderer.of(job.start)
    renderer.save(folder, options.system)
    tidy_generation_config(folder)
    if options.card:
        told = f"{options.card.rstrip()}\n\nChat template: {renderer.about}.\n"
        (folder / "README.md").write_text(told, encoding="utf-8")
    # Half an adapter is not what trained.
    base, place, _ = find_base(job.start.path)
    checked = check_merged(Path(job.start.path), folder, base, place) if options.scale == 1 else {}
    return {
        **checked,
        "parameters": parameters,
        "dtype": str(dtype).removeprefix("torch."),
        "seconds": round(time.monotonic() - began, 2),
    }


def _write_sum(start: str, options: MergeOptions, folder: Path) -> tuple[int, torch.dtype]:
    """Write config and weights; returns how many values they have, and their dtype."""
    total = read_sum(start, options.scale)
    if total is not None:
        total.config.save_pretrained(folder)
        write_entries(folder, total.entries, parse_size_to_int(options.max_shard_size))
        return sum(math.prod(entry.shape) for entry in total.entries), total.config.dtype
    model = load_sum(start, options.scale)
    model.generation_config = transformers.GenerationConfig()
    model.save_pretrained(str(folder), max_shard_size=options.max_shard_size)
    return sum(p.numel() for p in model.parameters()), next(model.parameters()).dtype


def load_sum(start: str, scale: float) -> transformers.PreTrainedModel:
    """Returns the adapter at `start` added to its base by peft, or the full weights that are there."""
    base, place, adapter = find_base(start)
    load = transformers.AutoModelForCausalLM.from_pretrained
    if adapter is None:
        return load(base, dtype="auto", **place)
    model = peft.PeftModel.from_pretrained(load(base, dtype=torch.float32, **place), start)
    for module in model.modules():
        if isinstance(module, peft.tuners.lora.LoraLayer):
            module.scale_layer(scale)
    scale_rows(model, scale)
    return model.merge_and_unload(safe_merge=True).to(read_stored_dtype(base, place))
