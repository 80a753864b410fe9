"""Embeddings, clusters and perplexities of texts, asked of a model in batches.

The one idea: what demo sampling and keep share. A batch is small enough that a killed step repeats
little and large enough to fill any batch. Nothing here decides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from woolgather.engines.base import Engine, LogProb
from woolgather.prompting.messages import Prompt

BATCH = 256
"""Texts or pairs asked at once."""


def embeddings(engine: Engine, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Returns mean-pooled last hidden states, [texts, hidden]. Raises CapabilityError when the engine
    has none."""
    vectors: list[list[float]] = []
    for start in range(0, len(texts), BATCH):
        vectors += engine.embed(texts[start : start + BATCH])
    return np.asarray(vectors, dtype=np.float32)


def clusters(vectors: npt.NDArray[np.float32], k: int, seed: int) -> list[int]:
    """Returns a cluster in [0, k) for each vector, by k-means; a cluster of its own for each when there
    are no more than k. `vectors` is [texts, hidden]."""
    if k >= len(vectors):
        return list(range(len(vectors)))
    from sklearn.cluster import MiniBatchKMeans

    means = MiniBatchKMeans(n_clusters=k, random_state=seed, n_init=3, batch_size=1024)
    return [int(label) for label in means.fit_predict(vectors)]


def perplexities(
    engine: Engine, prompts: Sequence[Prompt], continuations: Sequence[str]
) -> list[float | None]:
    """Returns the perplexity per token of each continuation, given its prompt: at least 1; None for one
    without tokens."""
    scored: list[LogProb] = []
    for start in range(0, len(prompts), BATCH):
        part = slice(start, start + BATCH)
        scored += engine.sequence_logprobs(prompts[part], continuations[part])
    return [perplexity(each) for each in scored]


def perplexity(scored: LogProb) -> float | None:
    """Returns exp of the mean negative log-probability per token, None without tokens; capped at e^700
    so that it stays a finite number."""
    if scored.tokens == 0:
        return None
    return math.exp(min(700.0, -scored.total / scored.tokens))
