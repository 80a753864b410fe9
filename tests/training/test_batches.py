import pytest

from woolgather.core.errors import ConfigError
from woolgather.training.batches import ByUpdate, Shape, fit

SHAPE = Shape(layers=30, hidden=576, inner=1536, heads=9)
GB = 1e9


def updates(sampler: ByUpdate) -> list[list[int]]:
    order = list(sampler)
    return [
        order[i : i + sampler.rows_per_update]
        for i in range(0, len(order), sampler.rows_per_update)
    ]


def test_an_epoch_sees_every_row_once_longest_first_within_an_update():
    lengths = [(7 * i) % 23 for i in range(50)]
    sampler = ByUpdate(lengths, 16, seed=3)
    assert sorted(sampler) == list(range(50))
    assert len(sampler) == 50
    assert [len(u) for u in updates(sampler)] == [16, 16, 16, 2]
    for update in updates(sampler):
        assert [lengths[i] for i in update] == sorted((lengths[i] for i in update), reverse=True)


def test_the_rows_of_an_update_do_not_depend_on_their_lengths():
    by_length = ByUpdate(list(range(50)), 16, seed=3)
    flat = ByUpdate([1] * 50, 16, seed=3)
    assert [set(u) for u in updates(by_length)] == [set(u) for u in updates(flat)]


def test_order_follows_from_seed_and_epoch():
    sampler = ByUpdate([1] * 40, 8, seed=3)
    first = list(sampler)
    assert first == list(ByUpdate([1] * 40, 8, seed=3))
    assert first != list(ByUpdate([1] * 40, 8, seed=4))
    sampler.set_epoch(1)
    second = list(sampler)
    assert second != first
    sampler.set_epoch(0)
    assert list(sampler) == first


def test_rows_at_once_divide_what_a_device_has_and_fit_its_memory():
    assert fit(16, 1, 0, SHAPE, 200, 20 * GB, on_cpu=True) == (4, False)
    assert fit(16, 1, 0, SHAPE, 200, 80 * GB, on_cpu=False) == (16, False)
    assert fit(6, 1, 0, SHAPE, 200, 20 * GB, on_cpu=True) == (3, False)
    assert fit(16, 8, 0, SHAPE, 200, 20 * GB, on_cpu=True) == (2, False)
    assert fit(16, 1, 8, SHAPE, 200, 20 * GB, on_cpu=True) == (8, False)


def test_little_memory_means_fewer_rows_then_recomputing():
    row = SHAPE.row(1000)
    assert fit(16, 1, 0, SHAPE, 1000, 2.5 * row / 0.6, on_cpu=True) == (2, False)
    assert fit(16, 1, 0, SHAPE, 1000, 0.5 * row / 0.6, on_cpu=True) == (1, True)


def test_rows_that_cannot_be_shared_are_a_mistake():
    with pytest.raises(ConfigError, match="batch_size 16 cannot be shared by 3"):
        fit(16, 3, 0, SHAPE, 100, GB, on_cpu=True)
    with pytest.raises(ConfigError, match="micro_batch_size 5 does not divide the 16"):
        fit(16, 1, 5, SHAPE, 100, GB, on_cpu=True)
