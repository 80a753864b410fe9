"""What a model can read, by the files beside its weights."""

import json
from pathlib import Path

import pytest

from woolgather.core.model_limits import longest_row, read_config, read_size, unread_tokens


def model(folder: Path, config: dict, tokens: dict | None = None, **settings: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(tokens or {}))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize(
    ("config", "longest"),
    [
        ({"max_position_embeddings": 512}, 512),
        ({"n_positions": 512}, 512),
        ({"max_position_embeddings": 4096}, 1024),
        ({"text_config": {"max_position_embeddings": 512}}, 512),
        ({"model_type": "bloom"}, 1024),
        ({"max_position_embeddings": None}, 1024),
    ],
)
def test_the_smaller_of_the_limit_and_the_positions_counts(
    tmp_path: Path, config: dict, longest: int
) -> None:
    assert longest_row(str(model(tmp_path, config)), 1024) == longest


def test_a_model_of_which_nothing_is_known_has_no_limit(tmp_path: Path) -> None:
    assert longest_row("fake", 1024) == 1024
    assert longest_row(str(tmp_path), 1024) == 1024
    assert read_config(tmp_path) == {}
    assert read_size({"vocab_size": "many"}, "vocab_size") is None


ADDED = [{"id": 500, "content": "<|im_start|>"}, {"id": 501, "content": "<image>"}]


@pytest.mark.parametrize(
    ("tokens", "settings", "unread"),
    [
        ({"model": {"vocab": {"a": 499}}}, {}, {}),
        ({"model": {"vocab": {"a": 499, "b": 500}}}, {}, {"b": 500}),
        ({"added_tokens": ADDED}, {}, {}),
        ({"added_tokens": ADDED}, {"chat_template": "{{ '<|im_start|>' }}"}, {"<|im_start|>": 500}),
        ({"added_tokens": ADDED}, {"eos_token": {"content": "<image>"}}, {"<image>": 501}),
        ({"added_tokens": ADDED}, {"pad_token": "<image>"}, {"<image>": 501}),
        ({"model": {"type": "Unigram", "vocab": [["a", -1.0]]}}, {}, {}),
    ],
)
def test_tokens_without_a_row_count_where_they_are_used(
    tmp_path: Path, tokens: dict, settings: dict, unread: dict
) -> None:
    """Vocabularies name tokens of images, say, that no text holds; those are no harm."""
    place = model(tmp_path, {"vocab_size": 500}, tokens, **settings)
    assert unread_tokens(place) == unread


def test_the_template_may_have_a_file_of_its_own(tmp_path: Path) -> None:
    place = model(tmp_path, {"vocab_size": 500}, {"added_tokens": ADDED})
    (place / "chat_template.jinja").write_text("<|im_start|>")
    assert unread_tokens(place) == {"<|im_start|>": 500}
