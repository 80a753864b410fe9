"""What a set of rows looks like beside a reference: lengths, repetition, and a map of both.

The map shows mean-pooled hidden states of one fixed model in their two principal components, as in
I-SHEEP's figure (arXiv 2408.08072, section 4). Nothing is decided here.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sized
from statistics import median

import numpy as np

from woolgather.core.artifacts import Metrics
from woolgather.core.errors import CapabilityError, EngineError
from woolgather.core.expected import Expected
from woolgather.core.op import op
from woolgather.core.rows import Example, question
from woolgather.core.views import View, alarm, histogram, scatter, table
from woolgather.engines.base import Engine
from woolgather.ops.measure.degeneration import distinct_2
from woolgather.ops.text.embeddings import embeddings
from woolgather.ops.text.words import count_words


def _work(rows: Sized, reference: Sized, engine: Engine, *, points: int, **_: object) -> Expected:
    return Expected(calls=min(len(rows), points) + min(len(reference), points))


@op("portrait", expects=_work)
def map_rows(
    rows: Iterable[Example],
    reference: Iterable[Example],
    engine: Engine,
    *,
    points: int = 400,
    seed: int = 0,
) -> Metrics:
    """Returns lengths, share of one-word answers, distinct-2 and exact duplicates of both sets.

    Drawn is a map of at most `points` rows of each set. An engine that gives no embeddings, or fails to,
    leaves a note with the reason in its place: a map decorates, and never ends a run.
    """
    sets = {"generated": list(rows), "reference": list(reference)}
    facts = {name: _facts(examples) for name, examples in sets.items()}
    columns = list(facts["generated"])
    views = [
        table("Rows kept, beside the reference", ["rows of", *columns],
              [[name, *(fact[c] for c in columns)] for name, fact in facts.items()]),
        histogram("Response length", {n: [count_words(r.response) for r in e] for n, e in sets.items()},
                  x="words"),
    ]  # fmt: skip
    try:
        views.append(_map(sets, engine, points, seed))
    except (CapabilityError, EngineError) as error:
        views.append(alarm("No map", str(error), "note"))
    own = facts["generated"]
    told = [f"{key} {own[key]}" for key in ("median words", "distinct-2") if own[key] is not None]
    said = ", ".join([f"{own['rows']} rows", *told])
    return Metrics(facts, views=tuple(views), headline=said)


def _facts(rows: list[Example]) -> dict[str, float | int | None]:
    lengths = [count_words(row.response) for row in rows]
    texts = Counter((question(row), row.response) for row in rows)
    spread = distinct_2([row.response for row in rows])
    return {
        "rows": len(rows),
        "median words": median(lengths) if lengths else None,
        "one-word %": round(100 * sum(n <= 1 for n in lengths) / len(rows), 1) if rows else None,
        "distinct-2": None if spread is None else round(spread, 3),
        "duplicates %": round(100 * (1 - len(texts) / len(rows)), 1) if rows else None,
    }


def _map(sets: dict[str, list[Example]], engine: Engine, points: int, seed: int) -> View:
    from sklearn.decomposition import PCA

    rng = random.Random(seed)
    drawn = {
        n: rng.sample(rows, points) if len(rows) > points else rows for n, rows in sets.items()
    }
    texts = [f"{question(row)}\n{row.response}" for rows in drawn.values() for row in rows]
    groups: dict[str, list[tuple[float, float]]] = {name: [] for name in drawn}
    labels: dict[str, list[str]] = {name: [] for name in drawn}
    note = "Too few rows for a map."
    if len(texts) >= 3:
        vectors = embeddings(engine, texts)
        if len(np.unique(vectors, axis=0)) < 2 or not np.isfinite(vectors).all():
            raise CapabilityError("The embeddings are all alike, or hold what is not a number.")
        pca = PCA(2, random_state=0)
        places = pca.fit_transform(vectors)
        at = iter(places.tolist())
        for name, rows in drawn.items():
            for row in rows:
                x, y = next(at)
                groups[name].append((round(x, 4), round(y, 4)))
                labels[name].append(row.instruction[:80])
        share = 100 * float(sum(pca.explained_variance_ratio_))
        note = f"The two components hold {share:.0f} % of the variance."
    return scatter("Generated beside reference", groups, x="first component", y="second component",
                   labels=labels, note=note)  # fmt: skip
