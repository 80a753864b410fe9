"""Published figures against what their sources say of the same numbers: means and differences.

A figure that was mistyped would not add up."""

from __future__ import annotations

from statistics import mean

import pytest

from woolgather.suites.suite import PublishedModel, read_suite, suite_names


def models(suite: str) -> dict[str, PublishedModel]:
    return {m.name: m for published in read_suite(suite).published for m in published.models}


@pytest.mark.parametrize(
    ("suite", "name", "average"),
    [
        ("spin", "zephyr-7b-sft-full", 58.14),
        ("spin", "SPIN iteration 0", 60.80),
        ("spin", "SPIN iteration 1", 62.12),
        ("spin", "SPIN iteration 2", 62.97),
        ("spin", "SPIN iteration 3", 63.16),
        ("humback", "Llama-2-7b", 54.32),
        ("humback", "Humback M0", 58.13),
        ("humback", "Humback M1", 54.65),
        ("humback", "Humback M1, 1800 updates, strict reading", 57.58),
    ],
)
def test_the_average_that_stands_beside_them(suite: str, name: str, average: float) -> None:
    values = models(suite)[name].values
    assert len(values) == len(read_suite(suite).tasks)
    assert mean(values.values()) == pytest.approx(average, abs=0.011)


def test_the_gain_that_the_abstract_names() -> None:
    found = models("isheep")
    first, last = (found[f"I-SHEEP iteration {t}"].values for t in (1, 5))
    assert last["ifeval/prompt strict"] - first["ifeval/prompt strict"] == pytest.approx(8.88)


@pytest.mark.parametrize("suite", suite_names())
def test_each_names_its_place_in_a_source(suite: str) -> None:
    for published in read_suite(suite).published:
        source, _, place = published.source.partition(", ")
        assert source.startswith(("arXiv ", "github.com/"))
        assert place
