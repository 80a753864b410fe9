"""The tiny model as a server is asked about it: by us, and by a stand-in that reads its tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from woolgather.core.artifacts import Model
from woolgather.prompting.renderer import Renderer


@pytest.fixture
def model(tiny_model: Path) -> Model:
    return Model(str(tiny_model), "t")


@pytest.fixture
def ours(tiny_model: Path) -> Renderer:
    return Renderer(tiny_model)


@pytest.fixture
def vocabulary(tiny_model: Path) -> str:
    return str(tiny_model / "tokenizer.json")
