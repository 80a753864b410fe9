"""Novelty's index beside a plain scorer: the same decisions, and how much faster.

    python benchmarks/novelty.py [--texts 52000] [--sample 20000] [--seed 0]

The plain scorer is the textbook: lower-case, split at everything but letters and digits, fill the
dynamic-programming table of the longest common subsequence, F1 of precision and recall. The
index decides of every text, in order and as a run does (in waves), whether it is too close to one that
was accepted before. The plain scorer is timed on a sample of pairs, and decides again of some texts,
each against everything that was accepted before it. The texts are generated, a quarter of them
variants of earlier ones so that decisions fall on both sides of the threshold. Exits with 1 when one
decision differs.
"""

from __future__ import annotations

import argparse
import itertools
import random
import re
import sys
import time

from printer import print_machine

from woolgather.ops.curate.rouge_l import NoveltyIndex

WAVE = 160
"""Texts between two looks at the index."""


def reference_tokens(text: str) -> list[str]:
    return [t for t in re.split(r"[^a-z0-9]+", text.lower()) if t]


def reference_rouge_l(a: list[str], b: list[str]) -> float:
    if not a or not b:
        return 0.0
    above = [0] * (len(b) + 1)
    for x in a:
        row = [0]
        for j, y in enumerate(b):
            row.append(above[j] + 1 if x == y else max(above[j + 1], row[j]))
        above = row
    # 2PR / (P + R) with P = lcs/len(a), R = lcs/len(b), as one division: a similarity that equals
    # the threshold must not be pushed over it by rounding.
    return 2 * above[-1] / (len(a) + len(b))


def make_texts(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = ["".join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(4000)]
    weights = [1 / (rank + 2) for rank in range(len(vocabulary))]
    texts: list[str] = []
    while len(texts) < count:
        if texts and rng.random() < 0.25:
            words = rng.choice(texts).rstrip(".").split()
            for _ in range(rng.randint(0, len(words) // 2)):
                words[rng.randrange(len(words))] = rng.choice(vocabulary)
        else:
            words = rng.choices(vocabulary, weights, k=rng.randint(6, 35))
        texts.append(" ".join(words).capitalize() + ".")
    return texts


def decide(texts: list[str], index: NoveltyIndex, threshold: float) -> list[bool]:
    """Returns whether each text is novel; one that is joins the index."""
    novel: list[bool] = []
    for start in range(0, len(texts), WAVE):
        wave, before = texts[start : start + WAVE], len(index)
        known = index.nearest_of_each(wave, threshold)
        for text, nearest in zip(wave, known, strict=True):
            novel.append((nearest or index.nearest(text, threshold, since=before)) is None)
            if novel[-1]:
                index.add(text)
    return novel


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=52_000)
    parser.add_argument("--sample", type=int, default=20_000, help="pairs for the plain scorer")
    parser.add_argument("--checked", type=int, default=8, help="decisions that it makes again")
    parser.add_argument("--threshold", type=float, default=0.7)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print_machine("rapidfuzz", "numpy")

    texts = make_texts(args.texts, args.seed)
    began, processor = time.perf_counter(), time.process_time()
    novel = decide(texts, NoveltyIndex(), args.threshold)
    seconds, busy = time.perf_counter() - began, time.process_time() - processor
    accepted = [text for text, new in zip(texts, novel, strict=True) if new]
    pairs = sum(itertools.accumulate(novel, initial=0)) - len(accepted)

    rng = random.Random(args.seed)
    tokenized = {text: reference_tokens(text) for text in texts}
    sample = [
        (tokenized[rng.choice(texts)], tokenized[rng.choice(texts)]) for _ in range(args.sample)
    ]
    start = time.process_time()
    for one, other in sample:
        reference_rouge_l(one, other)
    each = (time.process_time() - start) / len(sample)

    differ = 0
    asked = rng.sample(range(len(texts) // 2), args.checked)
    for i in asked:
        earlier = [texts[j] for j in range(i) if novel[j]]
        scores = (reference_rouge_l(tokenized[texts[i]], tokenized[text]) for text in earlier)
        differ += novel[i] == any(score > args.threshold for score in scores)
    ratio = each / (busy / pairs)
    print(f"{len(texts):,} texts, {len(accepted):,} novel, {pairs:,} pairs")
    print(f"index {seconds:.1f} s (target 30), {busy:.1f} s of the processor")
    print(f"index {busy / pairs * 1e6:.4f} us a pair")
    print(f"plain scorer {each * 1e6:.1f} us a pair: ratio {ratio:,.0f} (target 900)")
    print(f"decisions that differ: {differ} of {len(asked)}")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
