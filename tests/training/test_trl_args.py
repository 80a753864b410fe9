"""Settings that are passed on to TRL have the type of their field when they are read."""

from pathlib import Path

import pytest

from woolgather.core.errors import ConfigError
from woolgather.recipes import config, isheep
from woolgather.training.job import DpoOptions, SftOptions
from woolgather.training.trl_args import read_args


@pytest.mark.parametrize(
    ("name", "given", "read"),
    [
        ("max_grad_norm", "5e-1", 0.5),
        ("max_grad_norm", "0.5", 0.5),
        ("max_grad_norm", 1, 1),
        ("adam_beta2", ".95", 0.95),
        ("neftune_noise_alpha", "5", 5.0),
        ("neftune_noise_alpha", None, None),
        ("dataloader_num_workers", "2", 2),
        ("dataloader_num_workers", 2.0, 2),
        ("dataloader_pin_memory", "False", False),
        ("lr_scheduler_kwargs", {"lr_end": "1e-6", "note": "e"}, {"lr_end": 1e-6, "note": "e"}),
        ("report_to", "none", "none"),
        ("optim_target_modules", ("q_proj",), ["q_proj"]),
    ],
)
def test_a_value_has_the_type_of_its_field(name: str, given: object, read: object) -> None:
    found = read_args({name: given})[name]
    assert (found, type(found)) == (read, type(read))


@pytest.mark.parametrize(
    ("name", "given", "takes"),
    [
        ("max_grad_norm", "much", "it takes a number, and 'much' was given"),
        ("max_grad_norm", True, "it takes a number, and True"),
        ("max_grad_norm", [1.0], "it takes a number, and"),
        ("dataloader_num_workers", 1.5, "it takes a whole number, and 1.5"),
        ("dataloader_pin_memory", "maybe", "it takes true or false, and 'maybe'"),
        ("neftune_noise_alpha", "a lot", "it takes a number or null, and"),
        ("lr_scheduler_kwargs", 3, "it takes a text or a mapping or null, and 3"),
    ],
)
def test_what_a_field_does_not_take_is_refused_by_name(
    name: str, given: object, takes: str
) -> None:
    with pytest.raises(ConfigError, match=rf"args\.{name}: {takes}"):
        SftOptions(args={name: given})


def test_what_yaml_reads_as_text_is_a_number(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("sft: {args: {max_grad_norm: 5e-1, adam_beta2: 9.5e-1}}\n")
    cfg = config.build(isheep.Config, "isheep", files=[file])
    assert cfg.sft.args == {"max_grad_norm": 0.5, "adam_beta2": 0.95}
    assert cfg.sft == SftOptions(args={"max_grad_norm": 0.5, "adam_beta2": 0.95})
    file.write_text("sft: {args: {max_grad_norm: a lot}}\n")
    with pytest.raises(ConfigError, match=r"args\.max_grad_norm: it takes a number"):
        config.build(isheep.Config, "isheep", files=[file])


def test_each_config_has_its_own_types() -> None:
    assert DpoOptions(args={"label_smoothing": "1e-1"}).args == {"label_smoothing": 0.1}
