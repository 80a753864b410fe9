"""An adapter and its base become one."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import peft
import torch
import transformers

from woolgather.core.rows import JSON
from woolgather.prompting.renderer import Renderer
from woolgather.training.checkpoints import tidy_generation_config
from woolgather.training.job import MODEL
from woolgather.training.worker.setup import place_of, read_stored_dtype


def merge(job: Mapping[str, JSON], out: Path) -> dict[str, JSON]:
    """Base plus `scale` times the adapter, summed in float32 and stored in the base's dtype."""
    began = time.monotonic()
    source, place = place_of(job["start"])
    config, adapter, base = job["config"], None, source
    if (Path(source) / "adapter_config.json").is_file():
        adapter = peft.PeftConfig.from_pretrained(source)
        base, place = place_of(str(adapter.base_model_name_or_path))
        if adapter.revision and not Path(base).is_dir():
            place["revision"] = adapter.revision
    dtype: Any = torch.float32 if adapter else "auto"
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=dtype, **place)
    if adapter:
        model = peft.PeftModel.from_pretrained(model, source)
        for module in model.modules():
            if isinstance(module, peft.tuners.lora.LoraLayer):
                module.scale_layer(float(config.get("scale", 1.0)))
        model = model.merge_and_unload(safe_merge=True).to(read_stored_dtype(base, place))
    shutil.rmtree(out / MODEL, ignore_errors=True)
    # The base's may hold what transformers refuses to save; ours is written below.
    model.generation_config = transformers.GenerationConfig()
    model.save_pretrained(str(out / MODEL), max_shard_size=config.get("max_shard_size") or "4GB")
    Renderer(job["start"]).save(out / MODEL, config.get("system") or "")
    tidy_generation_config(out / MODEL)
    if config.get("card"):
        (out / MODEL / "README.md").write_text(str(config["card"]), encoding="utf-8")
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "seconds": round(time.monotonic() - began, 2),
    }
