"""An end token that nobody has trained is trained beside the adapter, and whether the result stops is
tried: a base whose chat tokens were added, whose rows an adapter cannot reach."""

from pathlib import Path

import pytest
import safetensors
import torch
import transformers

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError
from woolgather.ops.train.merge import merge
from woolgather.ops.train.sft import _views
from woolgather.prompting.renderer import Renderer
from woolgather.training.job import DpoOptions, LoraOptions, SftOptions, TrainJob
from woolgather.training.job_file import Execution, write_job
from woolgather.training.worker import adapter, merging, program
from woolgather.training.worker.stop_test import ASKED, choose_prompts

from ..conftest import CHATML, save_llama, save_tokenizer
from .working import OPTIONS, error, run, told

pytestmark = pytest.mark.usefixtures("few_threads")
END = 2
LEARNS = {"epochs": 40, "learning_rate": 1e-2, "lora": {"r": 16, "alpha": 32, "dropout": 0}}


def base(path: Path, *, tied: bool, norm: float | None, **settings: object) -> Path:
    """A base whose row of the end token has this length; None leaves it as the others are."""
    names = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "chat_template": CHATML}
    path.mkdir()
    size = save_tokenizer(path, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], **names)
    save_llama(path, size, end=END, tie_word_embeddings=tied, pad_token_id=0, **settings)
    if norm is not None:
        model = transformers.AutoModelForCausalLM.from_pretrained(path)
        for matrix in {model.get_input_embeddings(), model.get_output_embeddings()}:
            with torch.no_grad():
                row = matrix.weight[END]
                row *= norm / row.norm()
        model.save_pretrained(path)
    return path


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_an_untrained_end_token_is_trained_and_the_model_stops(tmp_path: Path, tied: bool) -> None:
    start, out = base(tmp_path / "base", tied=tied, norm=0.08), tmp_path / "out"
    assert run(start, out, **LEARNS) == 0
    end = told(out)["untrained_end"]
    assert (end["token"], end["trained"]) == ("<|im_end|>", True)
    assert end["norm"] == pytest.approx(0.08, rel=1e-3)
    assert end["median"] == pytest.approx(2.4, rel=0.2)
    stops = told(out)["stops"]
    assert stops["asked"] == ASKED
    assert stops["stopped"] >= ASKED - 1
    notes = [v for v in _views(out, SftOptions(), 0, {}) if v.kind == "alarm"]
    assert [v.title for v in notes if v.data["level"] == "note"] == ["End token trained"]
    merged = transformers.AutoModelForCausalLM.from_pretrained(merge_into(out, tmp_path / "m"))
    before = transformers.AutoModelForCausalLM.from_pretrained(start)
    rows = merged.get_output_embeddings().weight, before.get_output_embeddings().weight
    changed = (rows[0] != rows[1]).any(dim=1).nonzero().flatten().tolist()
    assert changed == [END]


def merge_into(out: Path, place: Path, scale: float = 1.0) -> str:
    trained = Model(str(out / "model"))

    def trainer(job: TrainJob, out: Path) -> Model:
        out.mkdir()
        write_job(out / "job.json", job, digest="d", execution=Execution(cpu=True))
        assert program.main([str(out / "job.json")]) == 0
        return Model(str(out / "model"))

    return merge(trained, trainer=trainer, out=place, scale=scale).path


def test_without_it_an_adapter_cannot_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same base and training, the row left frozen: this is what the row is trained for."""
    start, out = base(tmp_path / "base", tied=True, norm=0.08), tmp_path / "out"
    monkeypatch.setattr(adapter, "FAR", 1e9)
    assert run(start, out, **LEARNS) == 0
    assert told(out)["untrained_end"] is None
    assert told(out)["stops"]["stopped"] == 0
    found = {v.title: v for v in _views(out, SftOptions(), 0, {}) if v.kind == "alarm"}
    assert "Of 8 greedy answers" in found["Does not stop"].data["text"]


def test_a_trained_end_token_is_left_to_the_adapter(tmp_path: Path) -> None:
    start, out = base(tmp_path / "base", tied=True, norm=None), tmp_path / "out"
    assert run(start, out, epochs=1) == 0
    assert told(out)["untrained_end"] is None
    assert "trainable_token_indices" not in (out / "model" / "adapter_config.json").read_text() or (
        '"trainable_token_indices": null' in (out / "model" / "adapter_config.json").read_text()
    )


@pytest.mark.parametrize(("ratio", "far"), [(0.4, True), (0.7, False), (1.6, False), (2.5, True)])
def test_far_is_twice_or_half(tmp_path: Path, ratio: float, far: bool) -> None:
    start = base(tmp_path / "base", tied=True, norm=2.4 * ratio)
    model = transformers.AutoModelForCausalLM.from_pretrained(start)
    assert (adapter.find_untrained_end(model, Renderer(start)) is not None) is far


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0])
def test_the_dial_turns_the_row_too(tmp_path: Path, scale: float) -> None:
    start, out = base(tmp_path / "base", tied=True, norm=0.08), tmp_path / "out"
    assert run(start, out, epochs=2) == 0
    whole = merging.load_sum(str(out / "model"), 1.0).get_output_embeddings().weight[END]
    before = transformers.AutoModelForCausalLM.from_pretrained(start)
    row = before.get_output_embeddings().weight[END]
    found = merging.load_sum(str(out / "model"), scale).get_output_embeddings().weight[END]
    assert not torch.equal(whole, row)
    assert torch.allclose(found, row + scale * (whole - row), atol=1e-6)


def test_only_finished_replies_are_asked_and_not_the_shortest() -> None:
    rows = [([1], [5] * n + [END]) for n in range(1, 41)]
    cut = [([1], [5] * 9)] * 3
    chosen = choose_prompts([*rows, *cut], END)
    assert [len(reply) for _, reply in chosen] == [12, 13, 14, 15, 17, 18, 19, 20]
    assert len(choose_prompts(rows[:5], END)) == 5
    assert choose_prompts(cut, END) == []


def test_layers_are_named_and_unknown_ones_are_refused_with_those_there_are(tmp_path: Path) -> None:
    start = base(tmp_path / "base", tied=True, norm=None)
    assert run(start, tmp_path / "a", lora={"target_modules": ["q_proj", "v_proj"]}, epochs=1) == 0
    weights = safetensors.safe_open(tmp_path / "a" / "model" / "adapter_model.safetensors", "pt")
    assert {key.split(".")[-3] for key in weights.keys()} == {"q_proj", "v_proj"}  # noqa: SIM118
    assert run(start, tmp_path / "b", lora={"target_modules": ["q_proj", "c_attn"]}) == 1
    assert error(tmp_path / "b")["kind"] == "mistake"
    assert error(tmp_path / "b")["message"] == (
        "lora.target_modules: llama has no layer 'c_attn' for an adapter. It has: down_proj, gate_proj, "
        "k_proj, o_proj, q_proj, up_proj, v_proj."
    )


def test_names_of_layers_are_read_from_a_list_or_a_text() -> None:
    assert LoraOptions(target_modules="q_proj, v_proj").target_modules == ("q_proj", "v_proj")
    assert LoraOptions(target_modules="all-linear") == LoraOptions()
    assert OPTIONS.lora is not None
    for wrong in ([], ["all-linear", "q_proj"]):
        with pytest.raises(ConfigError, match=r"lora\.target_modules: give names of layers"):
            DpoOptions(lora=LoraOptions(target_modules=wrong))
