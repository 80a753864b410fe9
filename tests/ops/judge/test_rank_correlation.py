import pytest

from woolgather.ops.judge.rank_correlation import spearman


def test_it_is_of_order_not_of_size():
    assert spearman([1, 2, 3, 4], [1, 10, 100, 1000]) == pytest.approx(1)
    assert spearman([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    assert spearman([1, 2, 3], [1, 3, 2]) == pytest.approx(0.5)


def test_equal_values_share_their_rank():
    """Ranks 2, 3.5, 3.5, 1 and 1, 2, 3, 4 are -.5, 1, 1, -1.5 and -1.5, -.5, .5, 1.5 off their means:
    products sum to -1.5, squares to 4.5 and 5."""
    assert spearman([10, 20, 20, 5], [1, 2, 3, 4]) == pytest.approx(-1.5 / (4.5 * 5) ** 0.5)


def test_it_is_unknown_without_variation():
    assert spearman([1, 1, 1], [1, 2, 3]) is None
    assert spearman([1, 2], [1, 2]) is None
    with pytest.raises(ValueError, match="equal lengths"):
        spearman([1], [1, 2])
