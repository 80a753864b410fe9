"""What tests that train in this process share."""

from collections.abc import Iterator

import pytest


@pytest.fixture
def few_threads() -> Iterator[None]:
    """One thread, and afterwards TRL's loss as it was: training here changes it for the process."""
    import torch
    import trl.trainer.utils

    before, head = torch.get_num_threads(), trl.trainer.utils._use_triton
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    trl.trainer.utils._use_triton = head
