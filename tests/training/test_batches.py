import pytest

from woolgather.core.errors import ConfigError
from woolgather.training.batches import CPU_ROWS, GPU_ROWS, ByUpdate, fit, share_out
from woolgather.training.model_shape import ModelShape

SHAPE = ModelShape(30, 576, 1536, heads=9, kv_heads=3, head_size=64, vocabulary=49152)
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
    row = SHAPE.activations(200, 2)
    assert fit(16, row, 20 * GB, usual=CPU_ROWS) == (4, False)
    assert fit(16, row, 80 * GB, usual=GPU_ROWS) == (16, False)
    assert fit(6, row, 20 * GB, usual=CPU_ROWS) == (3, False)
    assert fit(share_out(16, 8), row, 20 * GB, usual=CPU_ROWS) == (2, False)
    assert fit(16, row, 20 * GB, usual=CPU_ROWS, wanted=8) == (8, False)


def test_little_memory_means_fewer_rows_then_recomputing():
    row = SHAPE.activations(1000, 2)
    assert fit(16, row, 2.5 * row / 0.6, usual=CPU_ROWS) == (2, False)
    assert fit(16, row, 0.5 * row / 0.6, usual=CPU_ROWS) == (1, True)


def test_rows_that_cannot_be_shared_are_a_mistake():
    assert share_out(16, 2, 4) == 8
    with pytest.raises(ConfigError, match="batch_size 16 cannot be shared by 3"):
        share_out(16, 3)
    with pytest.raises(ConfigError, match="micro_batch_size 5 does not divide the 16"):
        share_out(16, 1, 5)
