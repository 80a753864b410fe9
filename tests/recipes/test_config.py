"""Settings are laid over a recipe's defaults, field by field."""

from __future__ import annotations

from pathlib import Path

import pytest

from woolgather.core.errors import ConfigError
from woolgather.recipes import config, dromedary, humback, isheep


def test_one_field_of_a_group_leaves_the_others_as_the_recipe_has_them(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("sft: {lora: {r: 8}}\n")
    made = config.build(
        dromedary.Config, "dromedary", files=[file], overrides=["align.sampling.max_tokens=99"]
    )
    default = dromedary.Config()
    assert made.align.sampling == default.align.sampling.model_copy(update={"max_tokens": 99})
    assert made.sft.lora is not None
    assert (made.sft.lora.r, made.sft.batch_size, made.sft.epochs) == (8, 128, 1)
    assert made.judge == default.judge
    other = config.build(isheep.Config, "isheep", overrides=["respond.sampling.max_tokens=99"])
    assert other.respond.sampling.temperature == isheep.Config().respond.sampling.temperature == 0.7


@pytest.mark.parametrize("recipe", [dromedary, isheep])
def test_nothing_said_is_the_default(recipe: object) -> None:
    name = recipe.__name__.rpartition(".")[2]  # type: ignore[attr-defined]
    assert config.build(recipe.Config, name) == recipe.Config()  # type: ignore[attr-defined]


def test_a_group_may_be_switched_off() -> None:
    assert config.build(isheep.Config, "isheep", overrides=["sft.lora=null"]).sft.lora is None


def test_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean align\.sampling\.max_tokens"):
        config.build(dromedary.Config, "dromedary", overrides=["align.sampling.max_token=9"])


def test_several_places_by_a_list_or_by_saying_it_again(tmp_path: Path) -> None:
    def places(recipe: object, name: str, *words: str, file: str = "") -> object:
        made = tmp_path / "more.yaml"
        made.write_text(file)
        return getattr(config.build(recipe.Config, "isheep", files=[made], overrides=words), name)

    for recipe, name in ((isheep, "seeds"), (dromedary, "prompts"), (humback, "texts")):
        several = ("a.jsonl", "b.jsonl")
        assert places(recipe, name, file=f"{name}: [a.jsonl, b.jsonl]\n") == several
        assert places(recipe, name, f"{name}=[a.jsonl, b.jsonl]") == several
        assert places(recipe, name, f"{name}=a.jsonl", f"{name}=b.jsonl") == several
        assert places(recipe, name, f"{name}=b.jsonl", file=f"{name}: a.jsonl\n") == "b.jsonl"
    assert places(isheep, "seeds", "seeds=[a.jsonl]", "seeds=[b.jsonl, c]")[-1] == "c"
    assert places(isheep, "iterations", "iterations=2", "iterations=3") == 3


@pytest.mark.parametrize(
    ("recipe", "name", "least"),
    [(isheep, "per_iteration", 0), (isheep, "practice.tasks", 0), (humback, "updates", 1)],
)
def test_numbers_of_iterations_that_are_none(recipe: object, name: str, least: int) -> None:
    def build(value: str) -> object:
        return config.build(recipe.Config, "any", overrides=[f"{name}={value}"])  # type: ignore[attr-defined]

    with pytest.raises(ConfigError, match=rf"^{name}=\[\] has no number: give one"):
        build("[]")
    for wrong in (f"{least - 1}", f"[4, {least - 1}]"):
        with pytest.raises(ConfigError, match=rf"^{name} holds {least - 1}: give numbers from"):
            build(wrong)
    build(f"[{least}, 4]")
