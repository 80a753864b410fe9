"""`push` before it comes to the hub: what it refuses, and what a dry run of any recipe writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import DatasetCard, ModelCard


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--to", "sheep"), "--to sheep: a name on the hub is owner/name"),
        (("--models", "resutl", "--dry-run"), "no finished model 'resutl'. Did you mean result?"),
    ],
)
def test_what_is_refused(
    a_run: Path, said: Callable[..., str], words: tuple[str, ...], told: str
) -> None:
    assert told in said("push", a_run, *words)
    assert not (a_run / "release").exists()


def test_a_recipe_of_ones_own(a_run: Path, call: Callable[..., Any]) -> None:
    """It follows no paper, and its settings are not known: the card leaves out what there is not."""
    done = call("push", a_run, "--dry-run", "--with-data", "--to", "ann/mine")
    assert done.exit_code == 0
    assert "ann/mine" in done.stdout
    assert "nothing was sent" in done.stdout
    card = ModelCard.load(a_run / "release" / "models" / "result" / "README.md")
    assert "Departures" not in card.text
    assert "are kept." in card.text
    rows = DatasetCard.load(a_run / "release" / "data" / "README.md")
    names = [each["config_name"] for each in rows.data.to_dict()["configs"]]
    assert names == ["iter0-synthesize", "iter0-respond", "iter0-assess", "iter0-keep"]


def test_rows_are_asked_for_where_there_are_none(
    a_run: Path, said: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from woolgather.release import folder

    monkeypatch.setattr(folder, "made_from", lambda run, models: [])
    assert "no step with rows is finished; leave out --with-data" in said(
        "push", a_run, "--dry-run", "--with-data"
    )
