import random
from itertools import pairwise

import pytest

from woolgather.engines.local.prefix_groups import SHARED, Group, common, groups


def fed(texts: list[list[int]], found: list[Group]) -> int:
    """Prompt tokens that go through the model."""
    total = 0
    for group in found:
        total += group.prefix
        for unit in group.units:
            total += unit.shared - group.prefix
            total += sum(len(texts[i]) - unit.shared for i in unit.members)
    return total


def random_ids(seed: int, n: int) -> list[int]:
    return random.Random(seed).choices(range(1000), k=n)


@pytest.mark.parametrize("seed", range(40))
def test_every_text_is_in_one_group_behind_a_beginning_it_has(seed: int) -> None:
    chance = random.Random(seed)
    bits = [chance.choices([0, 1], k=chance.randint(1, 12)) for _ in range(chance.randint(0, 60))]
    texts = [[bit for bit in some for _ in range(20)] for some in bits]
    found = groups(texts)
    members = [i for group in found for unit in group.units for i in unit.members]
    assert sorted(members) == list(range(len(texts)))
    for group in found:
        first = texts[group.units[0].members[0]]
        assert group.prefix == 0 or group.prefix >= SHARED
        for unit in group.units:
            head = texts[unit.members[0]][: unit.shared]
            assert head[: group.prefix] == first[: group.prefix]
            assert unit.shared == group.prefix or unit.shared - group.prefix >= SHARED
            for i in unit.members:
                assert texts[i][: unit.shared] == head
                assert unit.shared < len(texts[i]), "a token is left to feed"
    assert fed(texts, found) <= sum(map(len, texts))


def test_one_shared_beginning_is_one_prefix() -> None:
    head = random_ids(0, 800)
    texts = [head + random_ids(i, 40) for i in range(1, 65)]
    (group,) = groups(texts)
    assert group.prefix == 800
    assert fed(texts, [group]) == 800 + 64 * 40


def test_a_few_large_blocks_are_a_group_each_even_behind_a_common_line() -> None:
    line = random_ids(0, 50)
    blocks = [line + random_ids(k, 600) for k in range(1, 5)]
    texts = [blocks[i % 4] + random_ids(100 + i, 30) for i in range(120)]
    found = groups(texts)
    assert sorted(g.prefix for g in found) == [650] * 4
    assert [sum(len(u.members) for u in g.units) for g in found] == [30] * 4


def test_small_families_stay_in_one_batch_and_share_as_units() -> None:
    texts = [random_ids(i // 4, 200) for i in range(80)]
    (group,) = groups(texts)
    assert group.prefix == 0
    assert [len(unit.members) for unit in group.units] == [4] * 20
    assert all(unit.shared == 199 for unit in group.units)
    assert fed(texts, [group]) == 20 * 199 + 80


def test_texts_without_anything_in_common_are_one_group_longest_first() -> None:
    texts = [random_ids(i, 10 + 7 * i % 90) for i in range(40)]
    (group,) = groups(texts)
    assert group.prefix == 0
    lengths = [len(texts[unit.members[0]]) for unit in group.units]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] > lengths[-1]


def test_a_split_that_saves_less_than_it_costs_is_not_made() -> None:
    head = random_ids(0, 300)
    texts = [head + [k] * 20 + random_ids(50 + k * 20 + i, 9) for k in range(2) for i in range(20)]
    (group,) = groups(texts)
    assert group.prefix == 300


def test_nothing_and_one() -> None:
    assert groups([]) == []
    (group,) = groups([[1, 2]])
    assert (group.prefix, group.units[0].members) == (0, (0,))


def test_common() -> None:
    assert [common(a, b) for a, b in pairwise([[1, 2], [1, 2, 3], [1], [2], []])] == [2, 1, 0, 0]
