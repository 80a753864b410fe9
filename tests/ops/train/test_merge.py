import pytest
import yaml

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError
from woolgather.ops.train.merge import card_text, is_adapter, merge
from woolgather.training.fake import FakeTrainer

from .stamps import read_stamp


def test_the_dial_and_the_card_reach_the_trainer(tmp_path):
    start = Model("fake-tuned", fingerprint="f", prompt_format="raw")
    model = merge(
        start, trainer=FakeTrainer(), out=tmp_path, scale=0.5, card={"title": "Mine", "rows": 3}
    )
    stamp = read_stamp(model)
    assert (stamp["kind"], stamp["start"], stamp["config"]["scale"]) == ("merge", "f", 0.5)
    assert "# Mine" in (tmp_path / "model" / "fake" / "README.md").read_text()
    assert model.prompt_format == "raw"


def test_only_adapters_have_a_dial(tmp_path):
    full = Model(str(tmp_path))
    with pytest.raises(ConfigError, match=r"scale=0\.5: .* full weights"):
        merge(full, trainer=FakeTrainer(), out=tmp_path / "out", scale=0.5)
    (tmp_path / "adapter_config.json").write_text("{}")
    assert is_adapter(full)
    assert merge(full, trainer=FakeTrainer(), out=tmp_path / "out", scale=0.5).path


def test_a_card_is_a_model_card():
    text = card_text(
        {
            "title": "A tuned model",
            "text": "Made by itself.",
            "license": "apache-2.0",
            "base_model": "some/base",
            "seeds | own": "1 <b>\n2",
        }
    )
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head) == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["woolgather"],
        "license": "apache-2.0",
        "base_model": "some/base",
    }
    assert "# A tuned model\n\nMade by itself." in body
    assert "| seeds \\| own | 1 &lt;b> 2 |" in body


def test_the_plan_counts_the_weights(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"x" * 1000)
    assert merge.expects(Model(str(tmp_path))).disk_bytes == 1000
    assert merge.expects(Model("some/model@abc")).disk_bytes == 0


def test_system_lines_reach_the_trainer_and_only_if_there_are_any(tmp_path):
    base = Model("fake", "f")
    lined = merge(base, trainer=FakeTrainer(), out=tmp_path / "a", system="Be kind.")
    assert read_stamp(lined)["config"]["system"] == "Be kind."
    plain = merge(base, trainer=FakeTrainer(), out=tmp_path / "b")
    assert read_stamp(plain)["config"]["system"] == ""
