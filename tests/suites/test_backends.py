"""How the harness is told of a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from woolgather.core.artifacts import Model
from woolgather.core.errors import CapabilityError
from woolgather.engines.base import EngineOptions
from woolgather.suites.backends import find_backend


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    return tmp_path


def test_each_engine_is_a_backend(folder: Path) -> None:
    model = Model(str(folder), "print").with_variables({"enable_thinking": False})
    hf = find_backend(model, EngineOptions("transformers", dtype="float32"))
    assert (hf.name, hf.chat) == ("hf", True)
    assert hf.args == {
        "dtype": "float32",
        "pretrained": str(folder),
        "chat_template_args": {"enable_thinking": False},
    }
    vllm = find_backend(model, EngineOptions("vllm", dtype="float16", args={"max_model_len": 4096}))
    assert (vllm.name, vllm.args["max_model_len"]) == ("vllm", 4096)
    assert find_backend(model, EngineOptions("fake")).name == "dummy"
    assert len({hf.identity, vllm.identity}) == 2


def test_another_precision_or_other_weights_are_another_model(folder: Path) -> None:
    def identity(print_: str, dtype: str) -> str:
        options = EngineOptions("transformers", dtype=dtype)
        return find_backend(Model(str(folder), print_), options).identity

    one = identity("a", "float32")
    assert one == identity("a", "float32")
    assert len({one, identity("b", "float32"), identity("a", "bfloat16")}) == 3


def test_a_model_without_a_template_is_not_asked_in_turns(tmp_path: Path) -> None:
    options = EngineOptions("transformers", dtype="float32")
    assert not find_backend(Model(str(tmp_path), "print"), options).chat


def test_an_adapter_is_opened_on_its_base(folder: Path) -> None:
    config = {"base_model_name_or_path": "owner/base"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    model = Model(str(folder), "print")
    hf = find_backend(model, EngineOptions("transformers", dtype="float32")).args
    assert (hf["pretrained"], hf["peft"]) == ("owner/base", str(folder))
    vllm = find_backend(model, EngineOptions("vllm", dtype="float32")).args
    assert (vllm["pretrained"], vllm["lora_local_path"]) == ("owner/base", str(folder))


def test_a_template_that_is_not_in_the_folder_is_refused(folder: Path) -> None:
    model = Model(str(folder), "print").with_template("{{ other }}")
    with pytest.raises(CapabilityError, match=r"chat_template\.jinja"):
        find_backend(model, EngineOptions("transformers", dtype="float32"))
