"""What a run starts from: an adapter that is given as base is merged before all else."""

import json
import shutil
from pathlib import Path

from dry import Dry, steps

from woolgather.recipes import isheep

DRY = Dry(isheep, ["iterations=1", "measure.probes=55"])


def adapter(place: Path, tiny_model: Path) -> Path:
    place.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy2(tiny_model / name, place / name)
    config = {"base_model_name_or_path": str(tiny_model)}
    (place / "adapter_config.json").write_text(json.dumps(config))
    return place


def test_an_adapter_as_base_is_merged_first(tiny_model: Path, tmp_path: Path) -> None:
    base = f"base={adapter(tmp_path / 'adapter', tiny_model)}"
    assert DRY.planned(tmp_path / "run", base)["base-merge"][0] == "new"
    DRY.finished(tmp_path / "run", base)
    found = steps(tmp_path / "run")
    made = {
        name: {e["step"] for e in record.inputs.values()} for name, (_, record) in found.items()
    }
    assert made["base-merge"] == {"base"}
    assert "base-merge" in made["iter0/train"]
    assert not {name for name, of in made.items() if "base" in of} - {"base-merge"}


def test_full_weights_are_taken_as_they_are(tmp_path: Path) -> None:
    assert "base-merge" not in DRY.planned(tmp_path / "run", "base=fake")
