"""The embedded engine: a Hugging Face model in this process, asked by our own decode loop.

The one idea: any model that transformers loads, at the speed of what its requests share. Loading,
limits from the memory there is, and the methods of Engine are here; the work is in decode.py
(text), score.py (log-probabilities), batch.py and kv_cache.py (the model). Normally it runs inside
subprocess.py's child process. It does no quantisation and no multi-GPU: a server may, and the openai
engine asks it for models that exist before a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import torch

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError, InputError
from woolgather.core.machine_speed import auto_precision
from woolgather.core.model_limits import POSITIONS
from woolgather.engines.base import Completion, EngineOptions, Request
from woolgather.engines.local.batch import Batch, PassLimits, PlainBatch, SharedPrefixBatch, Tap
from woolgather.engines.local.decode import Finished, decode, out_of_memory
from woolgather.engines.local.kv_cache import (
    SharedPrefixCache,
    attend_with,
    supports_prefix_sharing,
)
from woolgather.engines.local.score import next_logprobs, score
from woolgather.engines.rendered import (
    Pair,
    RenderedEngine,
    Unfinished,
    completion_of,
    find_adapter_base,
)

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

RECURRENT = ("recurrent_gemma",)
"""Kinds of model with attention heads that have no cache of keys and values all the same."""
_LOGIT_BYTES = 256 << 20
"""Bound on the logits of one pass, in float32 with their log-softmax."""


class TransformersEngine(RenderedEngine):
    """A model in this process. Raises InputError when the model cannot be loaded, and ConfigError for a
    device or dtype that is unknown or not here."""

    def __init__(self, model: Model, options: EngineOptions | None = None) -> None:
        options = options or EngineOptions()
        super().__init__(model, options)
        self.device = _device(options.device)
        self.dtype = _dtype(options.dtype, self.device)
        self._net: PreTrainedModel = _load(
            model.path, self.device, self.dtype, options.trust_remote_code
        )
        _check_kind(self._net, model.path)
        self._context = _context_length(self._net.config.get_text_config())
        self._tap = Tap(self._net)
        self.shares = supports_prefix_sharing(self._net)
        """Whether shared prefixes are computed once (SharedPrefixBatch); otherwise PlainBatch is used."""
        self._limits = self._measure_limits(options.batch_tokens)
        self._stopped = False

    @property
    def context(self) -> int:
        return self._context

    def reduce(self) -> None:
        """Works in batches of half the size from now on."""
        self._limits.halve()

    def interrupt(self) -> None:
        """Called from another thread: the `complete` under way ends within a step, without the rest of
        its results."""
        self._stopped = True

    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        too_long: list[tuple[int, Completion]] = []
        self._stopped = False

        def rows() -> Iterator[Unfinished]:
            for index, request in enumerate(requests):
                row = self._start_row(index, request)
                if isinstance(row, Completion):
                    too_long.append((index, row))
                else:
                    yield row

        for row, reason in self._decode(rows()):
            yield from too_long
            too_long.clear()
            if reason == "error":
                yield row.index, Completion("", "error", len(row.prompt))
            else:
                yield row.index, completion_of(row, reason, self.renderer)
        yield from too_long

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Returns one vector per text, [texts][hidden size]: the mean of the last hidden states of its
        tokens. A text longer than the model's context is cut there."""
        ids = [
            self.renderer.prompt_ids(text)[: self.context] or [self.renderer.eos_id]
            for text in texts
        ]
        order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
        found: list[list[float]] = [[] for _ in ids]
        while order:
            n = max(1, min(self._limits.rows, self._limits.pass_tokens // len(ids[order[0]])))
            try:
                vectors = self._pool([ids[i] for i in order[:n]])
                for i, vector in zip(order[:n], vectors, strict=True):
                    found[i] = vector
            except (MemoryError, RuntimeError) as error:
                if not (out_of_memory(error) and self._limits.halve()):
                    raise
                continue
            order = order[n:]
        return found

    def close(self) -> None:
        """Lets go of the model. The engine is of no use afterwards."""
        self._net = None

    @torch.inference_mode()
    def _decode(self, rows: Iterator[Unfinished]) -> Iterator[Finished]:
        yield from decode(
            rows, self._make_batch, self._limits, self.renderer, lambda: self._stopped
        )

    def _pool(self, rows: list[list[int]]) -> list[list[float]]:
        """Returns the mean of the last hidden states of each row of token ids, [rows][hidden size]."""
        span = max(map(len, rows))
        ids = torch.tensor([r + [self.renderer.pad_id] * (span - len(r)) for r in rows])
        mask = torch.tensor([[1] * len(r) + [0] * (span - len(r)) for r in rows])
        ids, mask = ids.to(self.device), mask.to(self.device)
        if self.shares:
            cache = SharedPrefixCache(self._net.device)
            positions = cache.begin_pass(range(len(rows)), [0] * len(rows), span)
            with attend_with(cache):
                hidden = self._net.base_model(
                    input_ids=ids, position_ids=positions, past_key_values=cache, use_cache=True
                ).last_hidden_state
        else:
            hidden = self._net.base_model(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask[..., None].float()
        pooled = (hidden.float() * weights).sum(dim=1) / weights.sum(dim=1)
        return [[float(x) for x in row] for row in pooled.tolist()]

    @torch.inference_mode()
    def _score_next(
        self, prompts: Sequence[list[int]], options: Sequence[int]
    ) -> list[list[float]]:
        return next_logprobs(prompts, options, self._make_batch, self._limits)

    @torch.inference_mode()
    def _score(self, pairs: Sequence[Pair], temperature: float) -> list[float]:
        return score(pairs, self._make_batch, self._limits, temperature)

    def _make_batch(self) -> Batch:
        kind: Callable[..., Batch] = SharedPrefixBatch if self.shares else PlainBatch
        return kind(self._net, self._tap, self._limits, self.renderer.pad_id)

    def _measure_limits(self, batch_tokens: int) -> PassLimits:
        config = self._net.config.get_text_config()
        width = torch.empty(0, dtype=self.dtype).element_size()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        # Bytes of one token in the cache: a key and a value per layer and head.
        each = 2 * config.num_hidden_layers * heads * size * width
        on_gpu = self.device.type == "cuda"
        free = (
            torch.cuda.mem_get_info(self.device)[0] * 0.7
            if on_gpu
            else psutil.virtual_memory().available * 0.4
        )
        vocabulary = int(self._net.get_output_embeddings().weight.shape[0])
        return PassLimits(
            rows=256 if on_gpu else 64,
            tokens=batch_tokens or max(1, int(free / each)),
            pass_tokens=min(16384 if on_gpu else 2048, batch_tokens or 16384),
            logits=max(16, _LOGIT_BYTES // (8 * vocabulary)),
        )


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise ConfigError(f"engine device {name!r} cannot be used here: {first}") from error
    return device


def _dtype(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        name = auto_precision(device.type, "generation") or "float32"
    try:
        return {
            "bfloat16": torch.bfloat16,
            "float16": torch.float16,
            "float32": torch.float32,
        }[name]
    except KeyError:
        raise ConfigError(
            f"engine dtype {name!r} is unknown. Use auto, bfloat16, float16 or float32."
        ) from None


def _check_kind(net: PreTrainedModel, path: str) -> None:
    """Raises InputError for a model that keeps a state where others have keys and values."""
    config = net.config.get_text_config()
    if getattr(config, "num_attention_heads", None) is None or config.model_type in RECURRENT:
        raise InputError(
            f"{path}: a model of the kind {config.model_type} keeps a state of its own where others have "
            "keys and values, and this engine asks models by those. Serve it, and use "
            "--engine openai; training it in a run needs another base."
        )


def _context_length(config: PreTrainedConfig) -> int:
    """Returns the positions a model was made for; without the entry (ALiBi, recurrent) many."""
    for name in POSITIONS:
        found = getattr(config, name, None)
        if isinstance(found, int) and found > 0:
            return found
    return 1 << 17


def _load(
    path: str, device: torch.device, dtype: torch.dtype, trust_remote_code: bool
) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    base = find_adapter_base(path)
    where = base or path
    settings: dict[str, str | bool] = {"trust_remote_code": trust_remote_code}
    if Path(where).is_dir():
        settings["local_files_only"] = True
    else:
        where, _, revision = where.partition("@")
        settings |= {"revision": revision} if revision else {}
    try:
        # An adapter is summed in float32, as in a merged directory, and rounded once.
        first = dtype if base is None else torch.float32
        net: PreTrainedModel = AutoModelForCausalLM.from_pretrained(where, dtype=first, **settings)
        if base is not None:
            from peft import PeftModel

            net = PeftModel.from_pretrained(net, path).merge_and_unload().to(dtype)
    except (OSError, ValueError, KeyError, ImportError) as error:
        lines = (str(error).strip() or type(error).__name__).splitlines()
        raise InputError(f"{path}: the model cannot be loaded: {lines[0]}") from error
    return net.to(device).eval()
