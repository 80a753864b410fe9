"""An adapter and its base become one."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import peft
import torch
import transformers

from woolgather.core.rows import JSON
from woolgather.prompting.renderer import Renderer
from woolgather.training.checkpoints import tidy_generation_config
from woolgather.training.job import MODEL, MergeOptions
from woolgather.training.job_file import WorkerJob
from woolgather.training.worker.adapter import scale_rows
from woolgather.training.worker.weights import place_of, read_stored_dtype


def merge(job: WorkerJob) -> dict[str, JSON]:
    """Write base plus `scale` times the adapter, summed in float32 and stored in the base's dtype;
    returns what result.json says."""
    began = time.monotonic()
    options, folder = job.options, job.out / MODEL
    assert isinstance(options, MergeOptions)
    model = _load_sum(job.start.path, options.scale)
    shutil.rmtree(folder, ignore_errors=True)
    # The base's may hold what transformers refuses to save; ours is written below.
    model.generation_config = transformers.GenerationConfig()
    model.save_pretrained(str(folder), max_shard_size=options.max_shard_size)
    renderer = Renderer.of(job.start)
    renderer.save(folder, options.system)
    tidy_generation_config(folder)
    if options.card:
        told = f"{options.card.rstrip()}\n\nChat template: {renderer.about}.\n"
        (folder / "README.md").write_text(told, encoding="utf-8")
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "seconds": round(time.monotonic() - began, 2),
    }


def _load_sum(start: str, scale: float) -> transformers.PreTrainedModel:
    """The adapter at `start` added to its base, or the full weights that are there."""
    source, place = place_of(start)
    load = transformers.AutoModelForCausalLM.from_pretrained
    if not (Path(source) / "adapter_config.json").is_file():
        return load(source, dtype="auto", **place)
    adapter = peft.PeftConfig.from_pretrained(source)
    base, place = place_of(str(adapter.base_model_name_or_path))
    if adapter.revision and not Path(base).is_dir():
        place["revision"] = adapter.revision
    model = peft.PeftModel.from_pretrained(load(base, dtype=torch.float32, **place), source)
    for module in model.modules():
        if isinstance(module, peft.tuners.lora.LoraLayer):
            module.scale_layer(scale)
    scale_rows(model, scale)
    return model.merge_and_unload(safe_merge=True).to(read_stored_dtype(base, place))
