"""Near-duplicates are found, others are not, and the index is as small as it says."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from woolgather.ops.curate import minhash as duplicates
from woolgather.ops.curate.minhash import BYTES_PER_TEXT, CROWD, NearDuplicates, sketch_of

WORDS = [f"w{i}" for i in range(5000)]


def text(rng: random.Random, words: int = 120) -> list[str]:
    return [rng.choice(WORDS) for _ in range(words)]


def changed(words: list[str], count: int, rng: random.Random) -> list[str]:
    out = list(words)
    for i in rng.sample(range(len(out)), count):
        out[i] = "changed"
    return out


def test_a_copy_and_a_near_copy_are_found_and_strangers_are_not() -> None:
    rng, index = random.Random(0), NearDuplicates(0.8)
    texts = [text(rng) for _ in range(200)]
    assert not any(index.add(" ".join(words)) for words in texts)
    assert all(index.add(" ".join(words)) for words in texts)
    assert all(index.add(" ".join(words).upper().replace(" ", ", ")) for words in texts)
    # One word of 120 is in 5 of 116 runs: similarity .92; eight words: about .5.
    near = sum(index.add(" ".join(changed(words, 1, rng))) for words in texts)
    assert near >= 190
    assert sum(index.add(" ".join(changed(words, 8, rng))) for words in texts) <= 5


def test_a_text_without_words_is_near_to_none() -> None:
    index = NearDuplicates(0.8)
    assert not index.add("")
    assert not index.add(" ... ")
    assert not index.add("one")
    assert index.add("One!")


def test_the_tables_grow_and_forget_nothing() -> None:
    rng, index = random.Random(1), NearDuplicates(0.9)
    texts = [" ".join(text(rng, 30)) for _ in range(3000)]
    assert not any(map(index.add, texts))
    assert all(map(index.add, texts))
    assert index.nbytes <= BYTES_PER_TEXT * len(index)


def test_a_form_letter_does_not_make_it_slow() -> None:
    """Many texts that share a band, and are no duplicates: a band takes no more than its crowd."""
    rng, index = random.Random(2), NearDuplicates(0.95)
    form = text(rng, 100)
    for _ in range(600):
        index.add(" ".join([*form, *text(rng, 12)]))
    assert len(index) > 500
    for keys, texts in zip(index._keys, index._texts, strict=True):
        alike = Counter(keys[texts != duplicates._EMPTY].tolist())
        assert max(alike.values()) == CROWD


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_bytes_a_text_of_a_million() -> None:
    index = NearDuplicates(0.8)
    for i in range(1_000_000):
        index.add(" ".join(WORDS[(i * k) % 5000] for k in range(1, 12)) + f" {i}")
    assert index.nbytes <= 420 * 1_000_000


def test_a_sketch_made_elsewhere_is_as_good_as_the_text() -> None:
    rng, by_text, by_sketch = random.Random(6), NearDuplicates(0.8), NearDuplicates(0.8)
    originals = [text(rng) for _ in range(50)]
    texts = [" ".join(words) for words in originals + [changed(w, 2, rng) for w in originals]]
    sketches = [sketch for each in texts if (sketch := sketch_of(each))]
    found = [by_text.add(each) for each in texts]
    assert found == [by_sketch.add_sketch(sketch) for sketch in sketches]
    assert any(found)
    assert sum(part.nbytes for part in sketches[0]) == 192
    assert sketch_of("...") is None
