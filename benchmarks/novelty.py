"""Novelty's index beside a plain scorer: the same decisions, and how much faster.

    python benchmarks/novelty.py [--index 2000] [--queries 100] [--seed 0]

The plain scorer is the textbook: lower-case, split at everything but letters and digits, fill the
dynamic-programming table of the longest common subsequence, F1 of precision and recall. Both see
the same generated instructions, a quarter of them variants of earlier ones so that decisions fall
on both sides of the threshold. Exits with 1 when one decision differs.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time

from woolgather.ops.curate.rouge_l import NoveltyIndex


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--index", type=int, default=2000, help="texts to compare with")
    parser.add_argument("--queries", type=int, default=100, help="texts that ask")
    parser.add_argument("--threshold", type=float, default=0.7)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    texts = make_texts(args.index + args.queries, args.seed)
    have, ask = texts[: args.index], texts[args.index :]
    pairs = len(have) * len(ask)

    start = time.perf_counter()
    tokenized = [reference_tokens(t) for t in have]
    plain = []
    for text in ask:
        words = reference_tokens(text)
        plain.append(max(reference_rouge_l(words, other) for other in tokenized))
    plain_seconds = time.perf_counter() - start

    start = time.perf_counter()
    index = NoveltyIndex(have)
    fast = [n.similarity if n else 0.0 for n in index.nearest_of_each(ask)]
    fast_seconds = time.perf_counter() - start

    differ = sum(
        (p > args.threshold) != (f > args.threshold) for p, f in zip(plain, fast, strict=True)
    )
    off = max(abs(p - f) for p, f in zip(plain, fast, strict=True))
    dropped = sum(p > args.threshold for p in plain)
    print(f"pairs {pairs:,}; dropped {dropped} of {len(ask)} at {args.threshold}")
    print(f"decisions that differ: {differ}; largest difference of similarity: {off:.2e}")
    print(f"plain {plain_seconds / pairs * 1e6:8.3f} us a pair")
    print(f"index {fast_seconds / pairs * 1e6:8.3f} us a pair, building included")
    print(f"ratio {plain_seconds / fast_seconds:.0f}x")
    return 1 if differ or off else 0


if __name__ == "__main__":
    sys.exit(main())
