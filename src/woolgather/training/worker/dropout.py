"""Dropout of the model itself, where all weights are trained.

The one idea: what an architecture can drop stands in its config, under names of its own, so that a
setting that finds none is an error and not a training without dropout.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from woolgather.core.errors import ConfigError

_ELSEWHERE = ("classifier", "summary", "layer", "lora")
"""Parts of names of dropout that training a language model never passes through."""


class TextConfig(Protocol):
    """What is used of a config of transformers."""

    model_type: str

    def to_dict(self) -> dict[str, object]: ...

    def update(self, config_dict: Mapping[str, object]) -> None: ...


def find_dropout(config: TextConfig) -> dict[str, float]:
    """Returns the probabilities of dropout in a model's config, by the config's own names."""
    return {
        name: float(value)
        for name, value in config.to_dict().items()
        if name.endswith(("dropout", "dropout_prob", "pdrop"))
        and not name.startswith(_ELSEWHERE)
        and isinstance(value, int | float)
    }


def set_dropout(config: TextConfig, p: float) -> dict[str, float]:
    """Set all dropout of a model to the probability `p`; returns what it was, by the config's names.

    Raises ConfigError for an architecture that has none."""
    own = find_dropout(config)
    if not own:
        raise ConfigError(
            f"dropout={p:g}: models of the kind {config.model_type} have no dropout of their own. "
            "Leave it out, or train an adapter with lora.dropout."
        )
    config.update(dict.fromkeys(own, p))
    return own
