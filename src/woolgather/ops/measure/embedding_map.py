"""What a set of rows looks like beside a reference: lengths, repetition, and a map of both.

The map shows mean-pooled hidden states of one fixed model in two principal components, as in I-SHEEP's
figure (arXiv 2408.08072, section 4). The one idea: two maps can be laid over one another only where
their axes are the same. Axes that are fitted once, on a reference that is given, make it so for all
iterations, and for all runs of one base; without one each map has axes of its own. Nothing is decided
here.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Sized
from statistics import median
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from woolgather.core.artifacts import Metrics
from woolgather.core.errors import CapabilityError, EngineError
from woolgather.core.expected import Expected
from woolgather.core.op import op
from woolgather.core.options import Options
from woolgather.core.rows import JSON, Example, question
from woolgather.core.views import View, alarm, histogram, put_behind, scatter, table
from woolgather.engines.base import Engine
from woolgather.ops.measure.degeneration import distinct_2
from woolgather.ops.text.embeddings import embeddings
from woolgather.ops.text.words import count_words

T = TypeVar("T")
Places = npt.NDArray[np.float64]
"""Where rows lie on two axes, [rows, 2]; also a vector."""
REFERENCE = "reference"
COMPONENTS = ("first component", "second component")
PLACES = ("x", "y")
FEWEST = 3
"""Rows that two axes are fitted on, at least."""
_NOTHING: Mapping[str, JSON] = {}


class MapOptions(Options):
    """The map of what each iteration kept."""

    reference: str | tuple[str, ...] = ""
    """Rows that the axes are fitted on, once, so that the maps of all iterations, and of all runs of one
    base, can be compared: a file or folder in any format that seeds may have, or a data set of the hub
    (`owner/name[@revision]`) that was downloaded before. Empty fits the axes of each map on what it
    shows: rows kept, and seeds."""
    sample: int = Field(default=2000, ge=FEWEST)
    """Rows of the reference that are used, at most: drawn from all, the same ones in every run."""
    points: int = Field(default=400, ge=FEWEST)
    """Rows of each set that are drawn in a map, at most."""


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

    Drawn is a map of at most `points` rows of each set, on axes fitted on these. An engine that gives no
    embeddings, or fails to, leaves a note with the reason in its place: a map decorates, and never ends
    a run.
    """
    sets = {"generated": list(rows), "reference": list(reference)}
    try:
        views = [_map(sets, engine, points, seed)]
    except (CapabilityError, EngineError) as error:
        views = [_explain(error)]
    return _describe(sets, views)


def _expect_axes(reference: Sized, engine: Engine, **_: object) -> Expected:
    return Expected(calls=len(reference))


@op("map_axes", expects=_expect_axes)
def fit_axes(reference: Iterable[Example], engine: Engine, *, points: int = 400) -> Metrics:
    """Returns the two principal components of the reference's embeddings, to place other rows on.

    Values: `rows` that they were fitted on, and `variance`, the share of it that they hold, in [0, 1].
    Items: the mean embedding, the components, and the deviation along each, by dimension; and where
    `points` rows of the reference lie, by their number in it. No items, and a note, where there are no
    embeddings.
    """
    rows = list(reference)
    try:
        return _fit(rows, engine, points)
    except (CapabilityError, EngineError) as error:
        return Metrics({"rows": 0}, views=(_explain(error),), headline="no axes")


def _fit(rows: Sequence[Example], engine: Engine, points: int) -> Metrics:
    from sklearn.decomposition import PCA

    pca = PCA(2, random_state=0)
    placed = pca.fit_transform(_embed(rows, engine))
    deviations = placed.std(axis=0)
    if not deviations.min() > 0:
        raise CapabilityError("The embeddings of the reference lie on one line.")
    shown = _draw(range(len(rows)), points, random.Random(0))
    share = float(sum(pca.explained_variance_ratio_))
    vectors = {"mean": pca.mean_, "deviations": deviations}
    vectors |= dict(zip(COMPONENTS, pca.components_, strict=True))
    return Metrics(
        {"rows": len(rows), "variance": round(share, 4)},
        {
            **{name: {str(i): float(v) for i, v in enumerate(found)} for name, found in vectors.items()},
            **{axis: {str(i): float(placed[i, k]) for i in shown} for k, axis in enumerate(PLACES)},
        },
        headline=f"axes fitted on {len(rows)} rows, with {100 * share:.0f} % of their variance",
    )  # fmt: skip


def _expect_placing(
    rows: Sized, reference: Sized, engine: Engine, *, points: int, **_: object
) -> Expected:
    return Expected(calls=min(len(rows), points))


@op("portrait_on_axes", expects=_expect_placing)
def place_rows(
    rows: Iterable[Example],
    reference: Iterable[Example],
    engine: Engine,
    *,
    axes: Metrics,
    points: int = 400,
    seed: int = 0,
) -> Metrics:
    """Returns what `map_rows` does, with the map on the axes that `fit_axes` fitted on the reference.

    Values have `place`, too: the mean and the deviation of the rows along each axis, counted in
    deviations of the reference from the reference's mean.
    """
    sets = {"generated": list(rows), "reference": list(reference)}
    place: dict[str, JSON] = {}
    try:
        drawn = _draw(sets["generated"], points, random.Random(seed))
        found = _project(drawn, axes, engine)
        place = _describe_place(found, axes)
        views = [_show_place(place, len(drawn)), _show_map(drawn, found, sets["reference"], axes)]
    except (CapabilityError, EngineError) as error:
        views = [_explain(error)]
    return _describe(sets, views, {"place": place} if place else {})


def _project(rows: Sequence[Example], axes: Metrics, engine: Engine) -> Places:
    if not axes.items:
        raise CapabilityError("No axes were fitted on the reference.")
    if not rows:
        raise CapabilityError("No row was kept that could be placed.")
    vectors, mean = _embed(rows, engine), _vector(axes, "mean")
    if vectors.shape[1] != len(mean):
        raise CapabilityError(
            f"Embeddings have {vectors.shape[1]} dimensions, and the axes have {len(mean)}."
        )
    components = np.array([_vector(axes, name) for name in COMPONENTS])
    placed: Places = (vectors - mean) @ components.T
    return placed


def _vector(axes: Metrics, name: str) -> Places:
    """A vector that is stored by dimension, whatever order its file has."""
    found = axes.items[name]
    return np.array([found[str(i)] for i in range(len(found))], dtype=np.float64)


def _describe_place(places: Places, axes: Metrics) -> dict[str, JSON]:
    scale = _vector(axes, "deviations")
    mean, spread = places.mean(axis=0) / scale, places.std(axis=0) / scale
    return {
        f"{name}, {what}": round(float(found[k]), 3)
        for k, name in enumerate(COMPONENTS)
        for what, found in (("mean", mean), ("deviation", spread))
    }


def _show_place(place: dict[str, JSON], count: int) -> View:
    note = (
        f"{count} rows, counted in standard deviations of the reference along each axis: it has itself a "
        "mean of 0 and a deviation of 1."
    )
    return table("Place on the reference's axes", list(place), [list(place.values())], note)


def _show_map(
    rows: Sequence[Example], places: Places, reference: Sequence[Example], axes: Metrics
) -> View:
    shown = [int(i) for i in axes.items[PLACES[0]]]
    lie = [[axes.items[axis][str(i)] or 0.0 for axis in PLACES] for i in shown]
    return _scatter(
        "On the reference's axes",
        {"generated": places.tolist(), REFERENCE: lie},
        {"generated": rows, REFERENCE: [reference[i] for i in shown]},
        f"The axes were fitted once, on {axes.values['rows']} rows of the reference, and hold "
        f"{100 * float(axes.values['variance']):.0f} % of their variance. Maps with this reference and "
        "this base can be compared.",
        behind=REFERENCE,
    )


def _describe(
    sets: Mapping[str, list[Example]], maps: Sequence[View], more: Mapping[str, JSON] = _NOTHING
) -> Metrics:
    facts = {name: _facts(examples) for name, examples in sets.items()}
    own, columns = facts["generated"], list(facts["generated"])
    lengths = {n: [count_words(r.response) for r in e] for n, e in sets.items()}
    views = (
        table("Rows kept, beside the reference", ["rows of", *columns],
              [[name, *(fact[c] for c in columns)] for name, fact in facts.items()]),
        histogram("Response length", lengths, x="words"),
        *maps,
    )  # fmt: skip
    told = [f"{key} {own[key]}" for key in ("median words", "distinct-2") if own[key] is not None]
    said = ", ".join([f"{own['rows']} rows", *told])
    return Metrics({**facts, **more}, views=views, headline=said)


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


def _map(sets: Mapping[str, list[Example]], engine: Engine, points: int, seed: int) -> View:
    """Returns the map of both sets, on axes fitted on what is drawn of them."""
    from sklearn.decomposition import PCA

    rng = random.Random(seed)
    drawn = {name: _draw(rows, points, rng) for name, rows in sets.items()}
    title, together = "Generated beside reference", [row for rows in drawn.values() for row in rows]
    if len(together) < FEWEST:
        return _scatter(title, {name: [] for name in drawn}, drawn, "Too few rows for a map.")
    pca = PCA(2, random_state=0)
    at = iter(pca.fit_transform(_embed(together, engine)).tolist())
    groups = {name: [next(at) for _ in rows] for name, rows in drawn.items()}
    share = 100 * float(sum(pca.explained_variance_ratio_))
    note = (
        f"The axes were fitted on the rows shown, and hold {share:.0f} % of their variance: no other map "
        "has the same ones. embedding_map.reference gives axes that all maps share."
    )
    return _scatter(title, groups, drawn, note)


def _scatter(
    title: str,
    places: Mapping[str, Sequence[Sequence[float]]],
    rows: Mapping[str, Sequence[Example]],
    note: str,
    behind: str = "",
) -> View:
    groups = {n: [(round(x, 4), round(y, 4)) for x, y in found] for n, found in places.items()}
    labels = {name: [row.instruction[:80] for row in found] for name, found in rows.items()}
    view = scatter(title, groups, x=COMPONENTS[0], y=COMPONENTS[1], labels=labels, note=note)
    return put_behind(view, behind) if behind else view


def _embed(rows: Sequence[Example], engine: Engine) -> npt.NDArray[np.float32]:
    """Returns the embedding of each row's question and response, [rows, hidden]. Raises CapabilityError
    where they cannot be told apart."""
    vectors = embeddings(engine, [f"{question(row)}\n{row.response}" for row in rows])
    if not np.isfinite(vectors).all() or (len(rows) > 1 and len(np.unique(vectors, axis=0)) < 2):
        raise CapabilityError("The embeddings are all alike, or hold what is not a number.")
    return vectors


def _draw(rows: Sequence[T], n: int, rng: random.Random) -> Sequence[T]:
    return rng.sample(rows, n) if len(rows) > n else rows


def _explain(error: Exception) -> View:
    return alarm("No map", str(error), "note")
