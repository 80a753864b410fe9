"""ROUGE-L against a plain scorer written here, other alphabets, and what the index remembers."""

import random
import re

import pytest

from woolgather.core.errors import InputError
from woolgather.core.rows import Example
from woolgather.ops.curate import rouge_l as novelty
from woolgather.ops.curate.rouge_l import NoveltyIndex, NoveltyOptions, is_novel
from woolgather.ops.text.words import tokens


def plain_rouge_l(one: str, two: str) -> float:
    a, b = ([t for t in re.split(r"[^a-z0-9]+", x.lower()) if t] for x in (one, two))
    if not a or not b:
        return 0.0
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = (
                table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
            )
    return 2 * table[-1][-1] / (len(a) + len(b))


def test_tokens_are_the_reference_tokens_on_ascii() -> None:
    rng = random.Random(1)
    for _ in range(500):
        text = "".join(chr(rng.randrange(128)) for _ in range(rng.randrange(60)))
        assert tokens(text) == [t for t in re.split(r"[^a-z0-9]+", text.lower()) if t]


def test_nearest_is_the_plain_scorer_s_maximum() -> None:
    rng = random.Random(2)
    for _ in range(300):
        have = ["".join(rng.choices("abcd -", k=rng.randrange(40))) for _ in range(8)]
        text = "".join(rng.choices("abcd -", k=rng.randrange(40)))
        scores = [plain_rouge_l(text, other) for other in have]
        nearest = NoveltyIndex(have).nearest(text)
        if max(scores) == 0:
            assert nearest is None
        else:
            assert nearest == (max(scores), scores.index(max(scores)))


def test_a_batch_gives_what_single_questions_give() -> None:
    rng = random.Random(3)
    texts = [" ".join(rng.choices("abcdefghij", k=rng.randint(0, 30))) for _ in range(200)]
    index = NoveltyIndex(texts[:60])
    assert index.nearest_of_each(texts) == [index.nearest(t) for t in texts]


def test_the_threshold_itself_is_novel_and_above_is_not() -> None:
    # 7 of 10 tokens in order: F is exactly 14 / 20
    index = NoveltyIndex(["a b c d e f g h i j"])
    at = index.nearest("a b c d e f g x y z")
    above = index.nearest("a b c d e f g h y z")
    assert at is not None
    assert at.similarity == 0.7
    assert is_novel(at, NoveltyOptions())
    assert above is not None
    assert not is_novel(above, NoveltyOptions())
    assert is_novel(above, NoveltyOptions(threshold=0.8))


def test_threshold_one_lets_duplicates_pass() -> None:
    index = NoveltyIndex(["same words"])
    assert not is_novel(index.nearest("Same, words!"), NoveltyOptions())
    assert is_novel(index.nearest("Same, words!"), NoveltyOptions(threshold=1.0))


def test_cutoff_and_since() -> None:
    index = NoveltyIndex(["red green blue", "one two three"])
    assert index.nearest("red green", cutoff=0.8) is None
    assert index.nearest("red green", cutoff=0.79) == (0.8, 0)
    assert index.nearest("red green blue", since=1) is None
    assert index.nearest("one two three", since=1) == (1.0, 1)
    assert index.nearest("one two three", since=2) is None
    assert index.add("one two three") == 2
    assert index.nearest("one two", since=2) == (0.8, 2)


def test_texts_without_words_are_like_nothing() -> None:
    index = NoveltyIndex(["", "?!", "word"])
    assert index.nearest("...") is None
    assert index.nearest("") is None
    assert index.nearest("word") == (1.0, 2)
    assert NoveltyIndex().nearest("word") is None


@pytest.mark.parametrize(
    ("text", "other", "similarity"),
    [
        ("Напиши письмо другу", "Напиши стихи другу", 2 / 3),
        ("写一首关于秋天的诗", "写一首关于冬天的诗", 8 / 9),
        ("हिन्दी में पत्र लिखो", "हिन्दी में कविता लिखो", 3 / 4),
        ("Écris une lettre", "écris une liste", 2 / 3),
    ],
)
def test_words_of_other_alphabets_count(text: str, other: str, similarity: float) -> None:
    nearest = NoveltyIndex([other]).nearest(text)
    assert nearest is not None
    assert nearest.similarity == pytest.approx(similarity)


def test_more_words_than_two_byte_characters() -> None:
    words = [f"w{i}" for i in range(70_000)]
    index = NoveltyIndex([" ".join(words[i : i + 10]) for i in range(0, len(words), 10)])
    # tokens 55296.. are encoded as surrogates, 65536.. as four-byte characters
    for start in (55_300, 66_000):
        nearest = index.nearest(" ".join([*words[start : start + 9], "new"]))
        assert nearest is not None
        assert nearest == (0.9, start // 10)


def test_too_many_words_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def small(code: int) -> str:
        if code > 3:
            raise ValueError
        return "abcd"[code]

    monkeypatch.setattr(novelty, "chr", small, raising=False)
    with pytest.raises(InputError, match=r"different words.*threshold"):
        NoveltyIndex(["one two three four five"])


def test_options_say_what_is_compared() -> None:
    row = Example(instruction="Sort this.", input="b a")
    assert NoveltyOptions().text(row) == "Sort this."
    assert NoveltyOptions(of="question").text(row) == "Sort this.\n\nb a"


@pytest.mark.parametrize("cutoff", [0.0, 0.31, 0.5, 0.7, 0.9])
def test_passing_over_texts_with_too_few_common_tokens_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, cutoff: float
) -> None:
    rng = random.Random(5)
    words = [f"w{n}" for n in range(300)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    texts = [" ".join(rng.choices(words, weights, k=rng.randint(1, 12))) for _ in range(400)]
    for _ in range(200):
        changed = rng.choice(texts).split()
        changed[rng.randrange(len(changed))] = rng.choice(words)
        texts.append(" ".join(changed))
    rng.shuffle(texts)
    index = NoveltyIndex(texts[:300])
    plain = [index.nearest_of_each(texts, cutoff, since) for since in (0, 120)]
    monkeypatch.setattr(novelty, "_MANY", 0)
    monkeypatch.setattr(novelty, "_FIRST", 4)
    for share in (0.0, 0.2, 1.0):
        monkeypatch.setattr(novelty, "_SHARE", share)
        assert [index.nearest_of_each(texts, cutoff, since) for since in (0, 120)] == plain
    settled = [index._by_common_tokens(index._encode(text), cutoff, 0)[0] for text in texts]
    assert all(settled)
