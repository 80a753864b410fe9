"""What a training takes of a device's memory: the formula, against models that were made and counted."""

import json

import psutil
import pytest

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError
from woolgather.core.machine_speed import DeviceSpeed, remember
from woolgather.training.job import DpoOptions, LoraOptions, SftOptions
from woolgather.training.launch import LocalTrainer
from woolgather.training.layouts import ProcessLayout
from woolgather.training.memory import TrainingSize
from woolgather.training.model_shape import ModelShape, read_shape, shape_of

GB = 1e9
SEVEN = ModelShape(32, 4096, 11008, heads=32, kv_heads=32, head_size=128, vocabulary=32000)
FULL = SftOptions(lora=None, precision="bfloat16")
LORA = SftOptions(lora=LoraOptions(r=16), precision="bfloat16")
SPEED = DeviceSpeed({"float32": 1.0, "bfloat16": 2.0}, {"float32": 1.0, "bfloat16": 2.0}, 1.0)


def size(options, **more) -> TrainingSize:
    more = {"precision": "bfloat16", "tokens": 2048, "on_cpu": False} | more
    return TrainingSize(more.pop("shape", SEVEN), options, **more)


def test_parameters_follow_from_the_config(tiny_model):
    import peft
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_model)
    shape = read_shape(tiny_model)
    assert shape is not None
    assert shape.parameters == sum(p.numel() for p in model.parameters())
    for targets in (("all-linear",), ("q_proj", "v_proj")):
        names = targets[0] if targets == ("all-linear",) else list(targets)
        config = peft.LoraConfig(r=4, target_modules=names, task_type="CAUSAL_LM")
        tuned = peft.get_peft_model(
            transformers.AutoModelForCausalLM.from_pretrained(tiny_model), config
        )
        trained = sum(p.numel() for p in tuned.parameters() if p.requires_grad)
        assert shape.adapter(4, targets) == trained


@pytest.mark.parametrize(
    ("config", "billions"),
    [
        # Llama 2 7B, Llama 3.1 70B, GPT-2 XL, Mixtral 8x7B: sizes as published.
        ((32, 4096, 11008, 32, 32, 32000, False, {"hidden_act": "silu"}), 6.74),
        ((80, 8192, 28672, 64, 8, 128256, False, {"hidden_act": "silu"}), 70.6),
        ((48, 1600, 6400, 25, 25, 50257, True, {}), 1.56),
        (
            (32, 4096, 14336, 32, 8, 32000, False, {"hidden_act": "silu", "num_local_experts": 8}),
            46.7,
        ),
    ],
)
def test_known_models_have_their_known_sizes(config, billions):
    names = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads")
    names += ("num_key_value_heads", "vocab_size", "tie_word_embeddings")
    shape = shape_of(dict(zip(names, config, strict=False)) | config[-1])
    assert shape is not None
    assert shape.parameters / 1e9 == pytest.approx(billions, rel=0.01)
    assert shape_of({"hidden_size": 8}) is None


def test_bytes_per_parameter_are_those_that_are_said():
    n = SEVEN.parameters
    full = size(FULL).fixed()
    assert (full.weights, full.gradients, full.states) == (6 * n, 4 * n, 8 * n)
    exact = size(FULL, precision="float32").fixed()
    assert exact.total == 16 * n
    spin = size(DpoOptions(lora=None)).fixed()
    assert spin.states == 4 * n  # rmsprop, and no second model
    lora = size(LORA).fixed()
    adapter = SEVEN.adapter(16)
    assert lora.weights == 2 * n + 4 * adapter
    assert lora.gradients + lora.states == 12 * adapter
    four = size(SftOptions(lora=LoraOptions(r=16, four_bit=True))).fixed()
    assert 0.25 * 2 * n < four.weights < 0.35 * 2 * n


@pytest.mark.parametrize("sharding", ["zero2", "zero3", "fsdp2"])
def test_what_is_shared_out_is_divided_by_the_devices(sharding):
    one, many = (size(FULL, sharding=sharding, devices=n).fixed() for n in (1, 8))
    assert one.total == pytest.approx(16 * SEVEN.parameters, rel=1e-6)
    assert many.states == one.states // 8
    assert many.gradients == one.gradients // 8
    whole = 2 * 2 * max(SEVEN.layer, SEVEN.vocabulary * SEVEN.hidden)
    expected = one.weights if sharding == "zero2" else one.weights / 8 + whole
    assert many.weights == pytest.approx(expected, rel=1e-6)


def test_what_cannot_fit_names_what_would():
    need = size(FULL).need(int(24 * GB))
    assert not need.fits
    assert any("lora" in remedy for remedy in need.remedies)
    assert "--accelerate zero3 --processes 8" in need.remedies
    assert size(LORA).need(int(24 * GB)).fits
    assert not size(LORA, shape=SEVEN).need(int(12 * GB)).fits
    assert any("four_bit" in remedy for remedy in size(LORA).need(int(12 * GB)).remedies)
    many = {"micro_batch_size": 16, "gradient_checkpointing": False}
    asked = size(LORA.model_copy(update=many))
    assert asked.need(int(80 * GB)).remedies[0] == "micro_batch_size=1"
    both = ("micro_batch_size=1 with gradient_checkpointing=true",)
    assert asked.need(int(24 * GB)).remedies == both
    alone = size(FULL, on_cpu=True).need(int(24 * GB))
    assert not any("--accelerate" in remedy or "8bit" in remedy for remedy in alone.remedies)
    assert size(FULL).need(0).fits


def test_a_trainer_tells_it_of_a_model_that_is_here(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setenv("WOOLGATHER_CACHE", str(tmp_path))
    trainer = LocalTrainer(cpu=True)
    start = Model(str(tiny_model))
    told = trainer.memory(start, SftOptions(precision="float32"))
    assert told is not None
    assert told.limit == psutil.virtual_memory().total
    assert 0 < told.total < told.limit
    two = LocalTrainer(ProcessLayout(processes=2), cpu=True).memory(start, FULL)
    assert two is not None
    assert two.limit == told.limit // 2
    assert trainer.memory(Model("fake"), FULL) is None
    assert trainer.memory(Model("somebody/model"), FULL) is None


def test_more_processes_than_devices_is_said_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setenv("WOOLGATHER_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match=r"999 processes .* cores: set --processes to"):
        LocalTrainer(ProcessLayout(processes=999), cpu=True).check()
    remember({"cpu": SPEED})
    with pytest.raises(ConfigError, match="--accelerate zero3 shares weights out among GPUs"):
        LocalTrainer(ProcessLayout("zero3", 2)).check()
    remember({"cpu": SPEED, "cuda": DeviceSpeed(SPEED.product, SPEED.step, 1.0, int(24 * GB), 4)})
    LocalTrainer(ProcessLayout("zero3", 4)).check()
    with pytest.raises(ConfigError, match=r"8 processes .* has 4 GPUs"):
        LocalTrainer(ProcessLayout("zero3", 8)).check()
    LocalTrainer(ProcessLayout("zero3", 8, machines=2)).check()


def test_a_plan_refuses_what_this_machine_cannot_hold(tmp_path, monkeypatch):
    from woolgather.api.launch import AskedSettings, Launch

    base = tmp_path / "seven"
    base.mkdir()
    told = {"hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 11008}
    told |= {"num_attention_heads": 32, "vocab_size": 32000, "hidden_act": "silu"}
    (base / "config.json").write_text(json.dumps(told | {"tie_word_embeddings": False}))
    memory = size(FULL).need(int(24 * GB))
    launch = Launch("spin", AskedSettings("demo"), folder=tmp_path / "run")
    line = {"step": "iter0/train", "state": "new", "updates": 5, "memory": memory}
    monkeypatch.setattr(LocalTrainer, "check", lambda self: None)
    with pytest.raises(
        ConfigError, match=r"iter0/train takes 1\d\d GB on each device \(weights 40 GB"
    ):
        launch.check_training([line])
    launch.check_training([{**line, "state": "remembered"}])
