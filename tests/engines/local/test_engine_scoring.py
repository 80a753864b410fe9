"""Log-probabilities, embeddings, memory that runs out, and what is loaded, on a tiny model."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.artifacts import Model
from woolgather.core.errors import CapabilityError, ConfigError, InputError
from woolgather.engines.base import EngineOptions, Request, Sampling, ask
from woolgather.prompting.messages import Message

from ...conftest import CHATML, save_llama, save_tokenizer
from ..tiny import GREEDY, SHARED, make, plain_model, prompts, reference

pytestmark = pytest.mark.usefixtures("one_thread")


def direct(engine: Any, prompt: str, text: str, temperature: float = 1.0) -> float:
    import torch

    head = engine.renderer.prompt_ids(prompt)
    tail = engine.renderer.continuation_ids(text)
    with torch.inference_mode():
        logits = plain_model(engine.model.path)(torch.tensor([head + tail])).logits[0]
    every = torch.log_softmax(logits.double() / temperature, dim=-1)
    return sum(float(every[len(head) - 1 + k, token]) for k, token in enumerate(tail))


@pytest.mark.parametrize("tile", [1 << 20, 16])
def test_sequence_logprobs_are_those_of_one_plain_pass(either: Any, tile: int) -> None:
    either._limits.logits = tile
    texts = ["", "yes", " no, never", "a longer one with the list of three things", "x" * 60]
    asked = [(p, t) for p in [SHARED + "a", SHARED + "b", "short", *prompts()[:8]] for t in texts]
    found = either.sequence_logprobs([p for p, _ in asked], [t for _, t in asked], 1.7)
    for (prompt, text), got in zip(asked, found, strict=True):
        assert got.tokens == len(either.renderer.continuation_ids(text))
        assert got.total == pytest.approx(direct(either, prompt, text, 1.7), abs=2e-3)


@pytest.mark.parametrize("options", [["1", "2", "9"], ["yes", "no", " perhaps not"]])
def test_option_logprobs(either: Any, options: list[str]) -> None:
    asked = [SHARED + "a", SHARED + "b", "Score: "]
    found = either.option_logprobs(asked, options)
    for prompt, row in zip(asked, found, strict=True):
        assert row == pytest.approx([direct(either, prompt, o) for o in options], abs=2e-3)


def test_a_text_too_long_to_score_is_a_clear_error(engine: Any) -> None:
    with pytest.raises(CapabilityError, match="longer than the 512"):
        engine.sequence_logprobs(["a" * 510], ["b" * 5])


def test_embeddings_are_mean_pooled_last_states(either: Any) -> None:
    import torch

    texts = ["The dog", "a much longer text about the list of three things", "x"]
    found = either.embed(texts)
    for text, vector in zip(texts, found, strict=True):
        ids = torch.tensor([either.renderer.prompt_ids(text)])
        with torch.inference_mode():
            hidden = plain_model(either.model.path).model(ids).last_hidden_state[0].mean(dim=0)
        assert vector == pytest.approx(hidden.tolist(), abs=1e-4)


def test_out_of_memory_halves_the_batch_and_goes_on(either: Any) -> None:
    either._limits.rows = 16
    most: list[int] = []
    real = either._net.forward

    def small(*args: Any, **kwargs: Any) -> Any:
        rows = kwargs["input_ids"].shape[0]
        if rows > 5:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 99 bytes")
        most.append(rows)
        return real(*args, **kwargs)

    expected = [reference(either, p, 8) for p in prompts()]
    either._net.forward = small
    requests = [Request(p, Sampling(temperature=0, max_tokens=8)) for p in prompts()]
    assert [c.text for c in ask(either, requests)] == expected
    assert max(most) <= 4
    assert either._limits.rows == 4


def test_a_row_that_does_not_fit_alone_is_its_own_error(either: Any) -> None:
    real = either._net.forward

    def refuse(*args: Any, **kwargs: Any) -> Any:
        if kwargs["input_ids"].shape[1] > 100:
            raise MemoryError
        return real(*args, **kwargs)

    either._net.forward = refuse
    found = list(ask(either, [Request("a" * 200, GREEDY), Request("The dog", GREEDY)]))
    assert found[0].finish_reason == "error"
    assert found[1].text == reference(either, "The dog", 24)


def test_other_errors_are_not_taken_for_memory(either: Any) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("shape mismatch")

    either._net.forward = fail
    with pytest.raises(RuntimeError, match="shape mismatch"):
        list(either.complete([Request("x", GREEDY)]))


def test_a_conversation_goes_through_the_template(tiny_model: Path) -> None:
    from woolgather.engines.local.engine import TransformersEngine

    engine = TransformersEngine(Model(str(tiny_model), "m", "chat"), EngineOptions(dtype="float32"))
    talk = (Message("user", "say the list"),)
    text = "<|im_start|>user\nsay the list<|im_end|>\n<|im_start|>assistant\n"
    done, raw = ask(engine, [Request(talk, GREEDY), Request(text, GREEDY)])
    assert done.text == raw.text
    assert done.prompt_tokens == raw.prompt_tokens
    assert (engine.model.fingerprint, engine.model.prompt_format) == ("m", "chat")


def test_chatml_is_spelt_out_whatever_the_template(tiny_model: Path, tmp_path: Path) -> None:
    from woolgather.engines.local.engine import TransformersEngine

    shutil.copytree(tiny_model, tmp_path / "m")
    (tmp_path / "m" / "chat_template.jinja").write_text("{{ messages[-1]['content'] }}")
    options = EngineOptions(dtype="float32")
    model = Model(str(tmp_path / "m"), "m", "chatml")
    engine, raw = (
        TransformersEngine(replace(model, prompt_format=form), options)
        for form in ("chatml", "raw")
    )
    talk = (Message("user", "say the list"),)
    text = "<|im_start|>user\nsay the list<|im_end|>\n<|im_start|>assistant\n"
    assert [*ask(engine, [Request(talk, GREEDY)])] == [*ask(raw, [Request(text, GREEDY)])]
    assert engine.sequence_logprobs([talk], [" one"]) == raw.sequence_logprobs([text], [" one"])
    assert engine.option_logprobs([talk], ["a", "b"]) == raw.option_logprobs([text], ["a", "b"])


def test_an_adapter_is_its_base_with_the_difference_added(tiny_model: Path, tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    torch.manual_seed(1)
    tuned = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear"))
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    tuned.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())
    adapted, plain = make(tmp_path), make(tiny_model)
    ids = torch.tensor([plain.renderer.prompt_ids("The dog")])
    expected = (
        tuned.eval()
        .generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=24
        )[0, ids.shape[1] :]
        .tolist()
    )
    got = next(ask(adapted, [Request("The dog", GREEDY)])).text
    assert got == plain.renderer.decode([t for t in expected if t != 2])
    assert got != next(ask(plain, [Request("The dog", GREEDY)])).text


def test_what_cannot_be_loaded_or_used_is_a_clear_error(tmp_path: Path, tiny_model: Path) -> None:
    save_tokenizer(tmp_path, ["</s>"], eos_token="</s>", chat_template=CHATML)
    with pytest.raises(InputError, match="cannot be loaded"):
        make(tmp_path)
    with pytest.raises(ConfigError, match="dtype 'int3'"):
        make(tiny_model, dtype="int3")
    with pytest.raises(ConfigError, match="cannot be used here"):
        make(tiny_model, device="nonsense")


def test_a_vocabulary_padded_beyond_the_tokenizer_does_not_matter(tmp_path: Path) -> None:
    size = save_tokenizer(tmp_path, ["<a>", "<b>", "</s>"], eos_token="</s>")
    save_llama(tmp_path, size + 20, end=2)
    engine = make(tmp_path)
    assert next(ask(engine, [Request("The dog", GREEDY)])).finish_reason in ("stop", "length")
