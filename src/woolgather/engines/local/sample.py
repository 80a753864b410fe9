"""Which token comes next.

The one idea: a request owns its chance. Each row draws one uniform number a token from a stream
seeded by its request alone, and that number picks the token by inverse distribution; so what a
request gets does not depend on its company in the batch (beyond rounding in the batch's arithmetic).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from woolgather.engines.base import Sampling
from woolgather.engines.rendered import Unfinished

_NUCLEUS = 64
"""Likely tokens looked at first; a row whose nucleus is larger is done over, more widely."""


def choose(logits: Tensor, rows: Sequence[Unfinished]) -> list[int]:
    """Returns a token id for each row, from logits [n, vocabulary].

    Penalties, temperature, top-k and top-p act in this order, as in transformers; the penalties on
    runs of tokens (`_penalize_runs`) come after the one on single tokens.
    """
    if all(row.plain_greedy for row in rows):
        return [int(i) for i in logits.argmax(dim=-1).tolist()]
    scores = logits.float()
    if any(row.sampling.repetition_penalty != 1.0 for row in rows):
        scores = _penalize(scores, rows)
    if any(row.penalizes_runs for row in rows):
        scores = _penalize_runs(scores, rows)
    greedy = scores.argmax(dim=-1).tolist()
    drawing = [i for i, row in enumerate(rows) if row.sampling.temperature > 0]
    chosen = [int(i) for i in greedy]
    if drawing:
        settings = [rows[i].sampling for i in drawing]
        uniforms = [rows[i].chance.random() for i in drawing]
        some = scores if len(drawing) == len(rows) else scores[drawing]
        heat = some.new_tensor([s.temperature for s in settings])[:, None]
        picks = _draw(torch.softmax(some / heat, dim=-1), settings, uniforms)
        for i, pick in zip(drawing, picks, strict=True):
            chosen[i] = pick
    return chosen


def _draw(
    probabilities: Tensor, settings: Sequence[Sampling], uniforms: Sequence[float]
) -> list[int]:
    """Returns a token id for each row of probabilities [n, vocabulary], by inverse distribution over
    its most likely tokens, most likely first."""
    chosen = [-1] * len(settings)
    everything = [i for i, s in enumerate(settings) if s.top_p >= 1 and not s.top_k]
    for i, pick in zip(everything, _whole(probabilities, everything, uniforms), strict=True):
        chosen[i] = pick
    # Indices of rows that have no token yet. What is made of `some` below is by place in this list.
    left = [i for i in range(len(settings)) if chosen[i] < 0]
    size = probabilities.shape[-1]
    for width in (_NUCLEUS, 16 * _NUCLEUS, size):
        if not left:
            break
        width = min(width, size)
        some = probabilities if len(left) == len(settings) else probabilities[left]
        top, ids = some.topk(width, dim=-1)
        mass = top.cumsum(dim=-1)
        kept = top.new_tensor([settings[i].top_k or size for i in left])[:, None]
        rank = torch.arange(width, device=top.device)
        in_k = rank < kept
        within_k = torch.where(in_k, top, 0).sum(dim=-1, keepdim=True)
        # top-p counts what top-k left as the whole; with more than `width` kept that is all.
        whole = torch.where(kept <= width, within_k, 1.0)
        share = top.new_tensor([settings[i].top_p for i in left])[:, None]
        keep = in_k & (mass - top < share * whole)
        enough = (kept <= width) | ((kept >= size) & (mass[:, -1:] >= share)) | (width == size)
        weights = torch.where(keep, top, 0).cumsum(dim=-1)
        target = top.new_tensor([uniforms[i] for i in left])[:, None] * weights[:, -1:]
        # A rank among the most likely, which `ids` turns into a token id.
        chosen_rank = torch.searchsorted(weights, target, right=True)
        chosen_rank = torch.minimum(chosen_rank, keep.sum(dim=-1, keepdim=True) - 1)
        picks = ids.gather(-1, chosen_rank)[:, 0].tolist()
        for i, pick, done in zip(left, picks, enough[:, 0].tolist(), strict=True):
            if done:
                chosen[i] = int(pick)
        left = [i for i in left if chosen[i] < 0]
    return chosen


def _whole(probabilities: Tensor, rows: list[int], uniforms: Sequence[float]) -> list[int]:
    """Returns a token id for each of these rows, by inverse distribution over the whole vocabulary."""
    if not rows:
        return []
    some = probabilities if len(rows) == len(probabilities) else probabilities[rows]
    mass = some.cumsum(dim=-1)
    target = mass.new_tensor([uniforms[i] for i in rows])[:, None] * mass[:, -1:]
    found = torch.searchsorted(mass, target, right=True)[:, 0]
    return [int(i) for i in found.clamp(max=some.shape[-1] - 1).tolist()]


def _penalize(scores: Tensor, rows: Sequence[Unfinished]) -> Tensor:
    scores = scores.clone()
    for i, row in enumerate(rows):
        penalty = row.sampling.repetition_penalty
        if penalty != 1.0:
            seen = torch.tensor(sorted({*row.prompt, *row.new}), device=scores.device)
            old = scores[i, seen]
            scores[i, seen] = torch.where(old < 0, old * penalty, old / penalty)
    return scores


def _penalize_runs(scores: Tensor, rows: Sequence[Unfinished]) -> Tensor:
    """Returns scores [n, vocabulary] in which a token t has lost, of a text x of new tokens,

        trigram_penalty * c3(t) + quadgram_penalty * c4(t)

    where cn(t) counts how often the last n - 1 tokens of x with t after them stand in x already. The
    prompt is no part of x.
    """
    scores = scores.clone()
    for i, row in enumerate(rows):
        lengths = ((3, row.sampling.trigram_penalty), (4, row.sampling.quadgram_penalty))
        for length, penalty in lengths:
            counts = _count_followers(row.new, length) if penalty else {}
            for token, count in counts.items():
                scores[i, token] -= penalty * count
    return scores


def _count_followers(new: Sequence[int], length: int) -> Counter[int]:
    """Counts the tokens with which runs of that many tokens end that begin as `new` ends."""
    before = length - 1
    last = new[-before:]
    starts = range(len(new) - before)  # the run at the very end has no follower yet
    return Counter(new[at + before] for at in starts if new[at : at + before] == last)
