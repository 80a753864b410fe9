"""What is asked of a model when it is opened, before any work begins."""

import json
import shutil
from pathlib import Path

import pytest

from woolgather.core.errors import InputError
from woolgather.models.open import open_model, open_served


def test_a_tokenizer_larger_than_the_embeddings_is_refused(
    tiny_model: Path, tmp_path: Path
) -> None:
    place = shutil.copytree(tiny_model, tmp_path / "model")
    assert open_model(str(place)).path
    config = json.loads((place / "config.json").read_text())
    last = config["vocab_size"] - 1
    (place / "config.json").write_text(json.dumps({**config, "vocab_size": last}))
    message = (
        rf"its tokenizer has {last + 1} tokens or more, .* embeddings end at {last}\. Resize them"
    )
    with pytest.raises(InputError, match=message):
        open_model(str(place))


def adapter(place: Path, tiny_model: Path, base: str) -> Path:
    place.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy2(tiny_model / name, place / name)
    (place / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    return place


def test_an_adapter_opens_where_its_base_is_there(tiny_model: Path, tmp_path: Path) -> None:
    for name, base in (("a", str(tiny_model)), ("b", "owner/name")):
        place = adapter(tmp_path / name, tiny_model, base)
        assert open_model(str(place)).path == str(place.resolve())


@pytest.mark.parametrize(("base", "told"), [("/no/where", "/no/where"), ("", "missing")])
def test_an_adapter_without_its_base_is_refused(
    tiny_model: Path, tmp_path: Path, base: str, told: str
) -> None:
    place = adapter(tmp_path / "a", tiny_model, base)
    with pytest.raises(InputError, match=rf"adapter, and the model .* is not there \(.*: {told}\)"):
        open_model(str(place))


@pytest.mark.parametrize("text", ["{", "[]", '"adapter"'])
def test_an_adapter_whose_config_is_broken(tmp_path: Path, text: str) -> None:
    (tmp_path / "adapter_config.json").write_text(text)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match=r"adapter_config.json there is no JSON object"):
        open_model(str(tmp_path))


def test_a_model_at_a_server_needs_no_files_here(tmp_path: Path, monkeypatch) -> None:
    def refuse(*_: object, local_files_only: bool, **__: object) -> str:
        assert local_files_only, "nothing is downloaded"
        raise FileNotFoundError

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    for name in ("org/judge-70b", "judge", "/models/judge"):
        model = open_served(name, role="judge_model")
        assert (model.path, model.prompt_format) == (name, "chat")
        assert model.fingerprint == open_served(name, role="win_judge").fingerprint
    assert len({open_served(n, role="judge_model").fingerprint for n in ("a/b", "a/c")}) == 2
    assert open_served("fake", role="judge_model") == open_model("fake")
    with pytest.raises(InputError, match=r"judge_model=.*no config\.json"):
        open_served(str(tmp_path), role="judge_model")


def test_a_judge_that_is_not_found_may_be_at_a_server() -> None:
    with pytest.raises(InputError, match=r"judge_model=/gone: .* --serve judge_model=URL#NAME\.$"):
        open_model("/gone", role="judge_model")
    with pytest.raises(InputError, match=r"no judge model\. Name one: judge_model="):
        open_model("", role="judge_model")
