"""A release on disk: cards that the hub's own classes read, rows that `datasets` loads, and the same
bytes each time."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shlex
import shutil
from pathlib import Path

import pytest
from huggingface_hub import DatasetCard, ModelCard

from woolgather.core.errors import ConfigError, InputError, RunDirError
from woolgather.core.storage import read_rows
from woolgather.recipes import config
from woolgather.release import method
from woolgather.release.folder import check_name, write_release
from woolgather.release.parts import used_by
from woolgather.report.collect import read_run_dir
from woolgather.report.lineage import find_step

STEPS = ("synthesize", "respond", "rules", "assess", "keep", "mix")


@pytest.fixture(scope="module")
def release(fake_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("release")
    write_release(fake_run, out, "ann/sheep", ["iter0", "result"], data=True)
    return out


def test_a_repository_for_each_model_and_one_for_the_rows(fake_run: Path, tmp_path: Path) -> None:
    found = write_release(fake_run, tmp_path, "ann/sheep", ["result", "iter0", "iter0"], data=True)
    assert [(each.kind, each.name) for each in found] == [
        ("model", "ann/sheep"),
        ("model", "ann/sheep-iter0"),
        ("dataset", "ann/sheep"),
    ]
    assert all(each.size for each in found)


def test_the_model_card_is_one(release: Path) -> None:
    card = ModelCard.load(release / "models" / "iter0" / "README.md")
    assert card.data.tags == ["woolgather", "synthetic"]
    assert card.data.datasets == ["ann/sheep"]
    assert card.data.pipeline_tag == "text-generation"
    assert card.data.base_model is None  # the fake model is not on the hub
    text = card.text.lstrip()
    assert text.startswith("# sheep-iter0\n")
    for told in (
        "I-SHEEP (arXiv 2408.08072)",
        "| `iterations` | `3` | `2` |",
        "instructions are compared with every earlier one",
        "seeds alone",
        "| iter0/keep |",
        "comes with woolgather, 182 rows",
        "not known here",
        "no difference seen",
    ):
        assert told in text, told


def test_what_was_not_trained_says_so(release: Path) -> None:
    """On the fake engine nothing beats the base, which then is the result."""
    text = ModelCard.load(release / "models" / "result" / "README.md").text
    assert "It is fake itself, unchanged" in text
    assert "fake was tuned on rows" in ModelCard.load(release / "models/iter0/README.md").text


def test_the_data_card_names_a_file_for_each_step_and_split(release: Path) -> None:
    card = DatasetCard.load(release / "data" / "README.md")
    configs = {each["config_name"]: each for each in card.data.to_dict()["configs"]}
    assert {f"iter{t}-{step}" for t in (0, 1) for step in STEPS} <= set(configs)
    assert [name for name, each in configs.items() if each.get("default")] == ["iter1-mix"]
    named = {file["path"] for each in configs.values() for file in each["data_files"]}
    there = {p.relative_to(release / "data").as_posix() for p in release.rglob("*.parquet")}
    assert named == there
    assert "probes" not in configs
    assert not any("control" in name or "tasks" in name for name in configs)


def test_rows_load_as_the_viewer_loads_them(release: Path, fake_run: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(
        str(release / "data"), "iter0-mix", split="train", cache_dir=str(tmp_path)
    )
    folder, record = find_step(fake_run, "iter0/mix")
    assert loaded["id"] == [row.id for row in read_rows(folder) if row.set_aside is None]
    assert len(loaded) == record.result["count"]


def test_set_aside_rows_are_a_split_of_their_own(fake_run: Path, tmp_path: Path) -> None:
    from woolgather.core.rows import Example
    from woolgather.core.storage import write_rows
    from woolgather.release.rows import write_configurations

    run = shutil.copytree(fake_run, tmp_path / "run", symlinks=True)
    found = read_run_dir(run)
    step = next(s for s in found.steps if s.record.step == "iter0/keep")
    rows = [Example(instruction="a", id="1"), Example(instruction="b", id="2", set_aside="low")]
    list(write_rows(rows, run / str(step.entry["path"]), "example"))
    [made] = write_configurations(found, [step], tmp_path / "data")
    assert made.counts == {"train": 1, "set_aside": 1}
    [aside] = _read(tmp_path / "data" / made.files["set_aside"])
    assert (aside["id"], aside["set_aside"]) == ("2", "low")


def _read(path: Path) -> list[dict[str, object]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, object]] = pq.read_table(path).to_pylist()
    return rows


def test_the_same_run_makes_the_same_bytes(release: Path, fake_run: Path, tmp_path: Path) -> None:
    write_release(fake_run, tmp_path, "ann/sheep", ["iter0", "result"], data=True)

    def hashes(folder: Path) -> dict[str, str]:
        files = (p for p in folder.rglob("*") if p.is_file())
        return {
            p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in files
        }

    assert hashes(tmp_path) == hashes(release)


def test_lineage_leads_from_a_model_to_its_rows(release: Path) -> None:
    told = json.loads((release / "data" / "lineage.json").read_text())
    steps = {each["step"]: each for each in told}
    prints = {each["fingerprint"]: name for name, each in steps.items()}
    above = [prints.get(p) for p in steps["iter0/train"]["made_from"]]
    assert "iter0/mix" in above
    assert len(steps["iter0/mix"]["fingerprint"]) == len(steps["iter0/mix"]["sha256"]) == 64


@pytest.mark.parametrize("argument", ["measured", "avoid", "against"])
def test_rows_that_others_are_compared_with_are_no_part(argument: str, fake_run: Path) -> None:
    """Probes and held-out tasks never go out, wherever a step reads them."""
    run = read_run_dir(fake_run)
    steps = {step.record.step: step for step in run.steps}
    probes, mixed = steps["probes"].record.fingerprint, steps["iter0/mix"]
    args = {**mixed.record.payload["args"], argument: {"probes": {"artifact": probes}}}
    payload = {**mixed.record.payload, "args": args}
    reading = dataclasses.replace(mixed, record=dataclasses.replace(mixed.record, payload=payload))
    assert used_by(reading) == used_by(mixed) != set()


def test_models_are_named_by_scope_and_the_nearest_is_offered(
    fake_run: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"no finished model 'itr0'. Did you mean iter0\?"):
        write_release(fake_run, tmp_path, "ann/sheep", ["itr0"])
    with pytest.raises(InputError, match="Its models: iter0, iter1, control/"):
        write_release(fake_run, tmp_path, "ann/sheep", ["xyz"])


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunDirError, match="is not a run directory"):
        write_release(tmp_path, tmp_path / "out", "ann/sheep")


@pytest.mark.parametrize("name", ["sheep", "a/b/c", "ann/", "ann/two words", "ann/x--y", "/x", ""])
def test_what_is_no_name_of_the_hub(name: str) -> None:
    with pytest.raises(ConfigError, match=r"owner/name"):
        check_name(name)


def test_folders_of_this_machine_are_taken_out_of_settings(fake_run: Path, tmp_path: Path) -> None:
    """Libraries note where they read something; the run's own file stays as it is."""
    run = shutil.copytree(fake_run, tmp_path / "run", symlinks=True)
    folder, record = find_step(run, "iter0/train-merge")
    settings = folder / str(record.result["path"]) / "config.json"
    before = {"_name_or_path": str(tmp_path / "base"), "model_type": "llama"}
    settings.write_text(json.dumps(before))
    write_release(run, tmp_path / "out", "ann/sheep", ["iter0"])
    sent = json.loads((tmp_path / "out" / "models" / "iter0" / "config.json").read_text())
    assert sent == {"model_type": "llama"}
    assert json.loads(settings.read_text()) == before


def test_the_licence_is_the_one_on_the_card_of_the_base(tmp_path: Path) -> None:
    from woolgather.release.source import base_of

    base = tmp_path / "base"
    base.mkdir()
    assert base_of({"base": str(base)}).licence == ""
    (base / "README.md").write_text("---\nlicense: mit\n---\n# Base\n")
    assert (base_of({"base": str(base)}).name, base_of({"base": str(base)}).licence) == (
        "base",
        "mit",
    )
    assert base_of({"base": "embedded"}).repo.startswith("HuggingFaceTB/")


CHANGES = {
    "isheep": ["iterations=2", "per_iteration=[10,20]", "keep.on=[quality]", "sft.lora=null"],
    "humback": [
        "texts=[a.txt,b.txt]",
        "updates=[500,1000]",
        'tags.seed="yes"',
        "keep.at_least=4.5",
    ],
    "dromedary": ["name=Ida", "sft.learning_rate=1e-5"],
    "spin": ["iterations=2", "dpo.learning_rate=[5e-7,1e-8]", "dpo.args.adam_beta2=0.95"],
}


@pytest.mark.parametrize("recipe", config.RECIPES)
def test_the_command_makes_the_same_settings(recipe: str, fake_run: Path) -> None:
    """Whatever the preset and the changes: read back, the command's words are the run's settings."""
    made = config.find_recipe(recipe).Config
    run = read_run_dir(fake_run)
    for preset in config.presets(recipe):
        for changes in ([], ["base=ann/model@main", *CHANGES[recipe]]):
            settings = config.build(made, recipe, preset=preset, overrides=changes)
            launch = dataclasses.replace(run.launches[-1], config=settings.model_dump(mode="json"))
            asked = dataclasses.replace(run, head={"recipe": recipe}, launches=[launch])
            words = shlex.split(method.write_command(asked))[3:]
            given = [w for w in words if "=" in w]
            named = words[words.index("--preset") + 1] if "--preset" in words else "default"
            again = config.build(made, recipe, preset=named, overrides=given)
            assert again == settings, (preset, changes, words)
            if not changes:
                assert not method.find_departures(asked).settings or not preset.startswith("paper")


@pytest.mark.parametrize("recipe", config.RECIPES)
def test_every_recipe_says_what_it_always_does_otherwise(recipe: str) -> None:
    assert len(method.read_always(recipe)) > 40
