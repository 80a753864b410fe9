"""The transformers engine on a tiny model, and what transformers itself writes with it."""

from functools import cache
from pathlib import Path
from typing import Any

from woolgather.core.artifacts import Model
from woolgather.engines.base import EngineOptions, Sampling

GREEDY = Sampling(temperature=0, max_tokens=24)
SHARED = "The quick brown fox jumps over the lazy dog. Write a list of three things. " * 2


def make(path: Path, **options: Any) -> Any:
    from woolgather.engines.local.engine import TransformersEngine

    settings = EngineOptions(**{"dtype": "float32", **options})
    return TransformersEngine(Model(str(path), "m", "raw"), settings)


@cache
def plain_model(path: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()


@cache
def plain_tokens(path: str, ids: tuple[int, ...]) -> list[int]:
    """What transformers' own generate writes for one prompt alone."""
    import torch

    prompt = torch.tensor([ids])
    out = plain_model(path).generate(
        prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=24
    )
    return [int(i) for i in out[0, len(ids) :]]


def reference(engine: Any, prompt: str, limit: int = 24) -> str:
    new = plain_tokens(engine.model.path, tuple(engine.renderer.prompt_ids(prompt)))[:limit]
    return str(engine.renderer.decode([t for t in new if t != 2]))


def prompts() -> list[str]:
    alone = [f"{'say ' * (i % 7)}word {i}" for i in range(12)]
    shared = [SHARED + f"number {i}: {'x' * (i % 5)}" for i in range(24)]
    return [p for pair in zip(shared, alone * 2, strict=True) for p in pair]
