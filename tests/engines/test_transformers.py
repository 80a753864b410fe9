import json
import math
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from woolgather.artifacts import Model
from woolgather.engines.base import EngineOptions, Message, Request, Sampling, ask
from woolgather.errors import CapabilityError, ConfigError, InputError

from ..conftest import CHATML, save_llama, save_tokenizer

GREEDY = Sampling(temperature=0, max_tokens=24)
SHARED = "The quick brown fox jumps over the lazy dog. Write a list of three things. " * 2


def make(path: Path, **options: Any) -> Any:
    from woolgather.engines.transformers import TransformersEngine

    settings = EngineOptions(**{"dtype": "float32", **options})
    return TransformersEngine(Model(str(path), "m", "raw"), settings)


@pytest.fixture(autouse=True)
def one_thread(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tiny models gain nothing from more threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(before if "smollm2" in request.fixturenames else 1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Any:
    return make(tiny_model)


@pytest.fixture(params=["slab", "plain"])
def either(request: pytest.FixtureRequest, tiny_model: Path) -> Any:
    """The engine on both of its ways through a model."""
    made = make(tiny_model)
    if request.param == "plain":
        made._net.set_attn_implementation("sdpa")
        made.shares = False
    else:
        assert made.shares
    return made


@cache
def plain_model(path: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()


@cache
def plain_tokens(path: str, ids: tuple[int, ...]) -> list[int]:
    """What transformers' own generate writes for one prompt alone."""
    import torch

    prompt = torch.tensor([ids])
    out = plain_model(path).generate(
        prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=24
    )
    return [int(i) for i in out[0, len(ids) :]]


def reference(engine: Any, prompt: str, limit: int = 24) -> str:
    new = plain_tokens(engine.model.path, tuple(engine.renderer.prompt_ids(prompt)))[:limit]
    return str(engine.renderer.decode([t for t in new if t != 2]))


def prompts() -> list[str]:
    alone = [f"{'say ' * (i % 7)}word {i}" for i in range(12)]
    shared = [SHARED + f"number {i}: {'x' * (i % 5)}" for i in range(24)]
    return [p for pair in zip(shared, alone * 2, strict=True) for p in pair]


def test_greedy_text_is_that_of_generate_with_prefixes_evictions_and_refills(either: Any) -> None:
    either._limits.rows = 7
    limits = [1 + (5 * i) % 23 for i in range(48)]
    requests = [
        Request(p, Sampling(temperature=0, max_tokens=n))
        for p, n in zip(prompts(), limits, strict=True)
    ]
    found = dict(either.complete(requests))
    assert sorted(found) == list(range(48))
    for i, (request, limit) in enumerate(zip(requests, limits, strict=True)):
        assert found[i].text == reference(either, request.prompt, limit), i
    assert {c.finish_reason for c in found.values()} <= {"stop", "length"}


def test_samples_of_one_prompt_share_it_and_equal_prompts_give_equal_greedy_text(
    engine: Any,
) -> None:
    requests = [Request(p, GREEDY) for p in [SHARED + "a", "one two", SHARED + "b"] * 5]
    texts = [c.text for c in ask(engine, requests)]
    assert texts == [reference(engine, r.prompt, 24) for r in requests]


def test_a_sliding_window_is_kept_behind_a_shared_prefix(tmp_path: Path) -> None:
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    size = save_tokenizer(tmp_path, ["<eos>", "<pad>", "</s>"], eos_token="</s>")
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=size,
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=16,
        sliding_window=24,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        max_position_embeddings=512,
        eos_token_id=2,
        pad_token_id=1,
        initializer_range=0.3,
    )
    Gemma3ForCausalLM(config).to(torch.float32).save_pretrained(tmp_path)
    engine = make(tmp_path)
    assert engine.shares
    requests = [Request(SHARED + f"{i}", GREEDY) for i in range(4)] + [Request("short", GREEDY)]
    assert [c.text for c in ask(engine, requests)] == [
        reference(engine, r.prompt, 24) for r in requests
    ]


def test_a_model_without_the_attention_interface_takes_the_plain_path(tmp_path: Path) -> None:
    import torch
    from transformers import BloomConfig, BloomForCausalLM

    size = save_tokenizer(tmp_path, ["<eos>", "<pad>", "</s>"], eos_token="</s>")
    torch.manual_seed(0)
    config = BloomConfig(
        vocab_size=size, hidden_size=32, n_layer=2, n_head=4, eos_token_id=2, initializer_range=0.5
    )
    BloomForCausalLM(config).to(torch.float32).save_pretrained(tmp_path)
    engine = make(tmp_path)
    assert not engine.shares
    requests = [Request(p, Sampling(temperature=0, max_tokens=9)) for p in prompts()[:6]]
    assert [c.text for c in ask(engine, requests)] == [
        reference(engine, r.prompt, 9) for r in requests
    ]


def test_what_a_request_draws_does_not_depend_on_its_company(either: Any) -> None:
    requests = [
        Request(p, Sampling(temperature=1.0, top_p=0.9, max_tokens=12, seed=i))
        for i, p in enumerate(prompts())
    ]
    together = [c.text for c in ask(either, requests)]
    alone = [next(ask(either, [r])).text for r in requests[:9]]
    assert together[:9] == alone
    assert len(set(together)) > 40
    other_seed = Request(requests[0].prompt, requests[0].sampling.model_copy(update={"seed": 99}))
    assert next(ask(either, [other_seed])).text != together[0]


def one_token(engine: Any, sampling: dict[str, Any], n: int) -> Counter[int]:
    from woolgather.engines.sampling import Row, choose

    logits = next_logits(engine)
    rows = [Row(0, [5], Sampling(seed=i, **sampling), 1) for i in range(n)]
    return Counter(choose(logits.expand(n, -1), rows))


def next_logits(engine: Any) -> Any:
    import torch

    torch.manual_seed(3)
    return torch.randn(1, 3000) * 2.0


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 1.0},
        {"temperature": 0.7, "top_p": 0.8},
        {"temperature": 3.0, "top_p": 0.99},
        {"temperature": 1.5, "top_k": 5},
        {"temperature": 1.0, "top_k": 40, "top_p": 0.5},
        {"temperature": 1.0, "top_k": 500, "top_p": 0.9},
    ],
)
def test_drawn_tokens_have_the_distribution_that_transformers_defines(
    engine: Any, sampling: dict[str, Any]
) -> None:
    import torch
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    scores = next_logits(engine)
    ids = torch.zeros(1, 1, dtype=torch.long)
    scores = TemperatureLogitsWarper(sampling["temperature"])(ids, scores)
    if sampling.get("top_k"):
        scores = TopKLogitsWarper(sampling["top_k"])(ids, scores)
    if sampling.get("top_p"):
        scores = TopPLogitsWarper(sampling["top_p"])(ids, scores)
    expected = torch.softmax(scores, dim=-1)[0]
    n = 4000
    drawn = one_token(engine, sampling, n)
    assert all(expected[token] > 0 for token in drawn)
    # Against sampling noise: the summed distance of n exact draws stays well below this.
    support = int((expected > 0).sum())
    distance = sum(abs(drawn[i] / n - float(expected[i])) for i in range(3000))
    noise = sum(math.sqrt(float(p) * (1 - float(p)) / n) for p in expected)
    assert distance < 1.3 * noise, (distance, noise, support)


def test_repetition_penalty_is_that_of_transformers() -> None:
    import torch
    from transformers import RepetitionPenaltyLogitsProcessor

    from woolgather.engines.sampling import Row, _penalized

    logits = torch.tensor([[3.0, -2.0, 1.0, 0.5], [3.0, -2.0, 1.0, 0.5]])
    rows = [
        Row(0, [0, 1], Sampling(repetition_penalty=1.5), 4),
        Row(1, [3], Sampling(), 4),
    ]
    rows[0].new.append(2)
    ours = _penalized(logits, rows)
    theirs = RepetitionPenaltyLogitsProcessor(1.5)(torch.tensor([[0, 1, 2]]), logits[:1])
    assert torch.equal(ours[:1], theirs)
    assert torch.equal(ours[1], logits[1])


def test_stop_texts_end_a_completion_and_are_not_returned(either: Any) -> None:
    free = next(ask(either, [Request("The dog", GREEDY)])).text
    stop = free[7:9]
    told = GREEDY.model_copy(update={"stop": ("never", stop)})
    done = next(ask(either, [Request("The dog", told)]))
    assert done.text == free[: free.index(stop)]
    assert done.finish_reason == "stop"
    assert 0 < done.completion_tokens < 24


def test_an_end_token_stops_and_is_counted_but_not_shown(tiny_model: Path) -> None:
    engine = make(tiny_model)
    ids = plain_tokens(str(tiny_model), tuple(engine.renderer.prompt_ids("The dog")))
    engine.renderer.end_ids = (ids[3],)
    at = ids.index(ids[3])
    done = next(ask(engine, [Request("The dog", GREEDY)]))
    assert done.finish_reason == "stop"
    assert done.completion_tokens == at + 1
    assert done.text == engine.renderer.decode(ids[:at])


def test_the_context_bounds_prompt_and_completion(either: Any) -> None:
    word = "a" * 500
    fits, full, over = (
        Request(word, Sampling(temperature=0, max_tokens=100)),
        Request("a" * 512, GREEDY),
        Request("a" * 600, GREEDY),
    )
    found = list(ask(either, [over, fits, full]))
    assert [c.finish_reason for c in (found[0], found[2])] == ["too_long", "too_long"]
    assert found[0].prompt_tokens == 600
    assert found[1].completion_tokens <= 12
    assert found[0].text == ""


def test_no_request_and_an_empty_prompt(either: Any) -> None:
    assert list(either.complete([])) == []
    assert next(ask(either, [Request("", GREEDY)])).prompt_tokens == 1
    assert either.sequence_logprobs([], []) == []
    assert either.embed([]) == []


def test_requests_are_pulled_a_window_at_a_time(engine: Any) -> None:
    from woolgather.engines.decoding import WINDOW

    pulled = 0

    def source() -> Iterator[Request]:
        nonlocal pulled
        for _ in range(2 * WINDOW):
            pulled += 1
            yield Request("The dog", Sampling(temperature=0, max_tokens=1))

    stream = engine.complete(source())
    next(stream)
    assert pulled <= WINDOW + 1
    stream.close()


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
    from woolgather.engines.transformers import TransformersEngine

    engine = TransformersEngine(Model(str(tiny_model), "m", "chat"), EngineOptions(dtype="float32"))
    talk = (Message("user", "say the list"),)
    text = "<|im_start|>user\nsay the list<|im_end|>\n<|im_start|>assistant\n"
    done, raw = ask(engine, [Request(talk, GREEDY), Request(text, GREEDY)])
    assert done.text == raw.text
    assert done.prompt_tokens == raw.prompt_tokens
    assert engine.__canonical__() == {"engine": "m", "format": "chat"}


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


@pytest.mark.real
def test_the_embedded_model_answers(smollm2: Path) -> None:
    from woolgather.engines.transformers import TransformersEngine

    engine = TransformersEngine(Model(str(smollm2), "s", "chat"), EngineOptions())
    assert engine.shares
    question = (Message("user", "What is the capital of France? Answer in one sentence."),)
    done = next(ask(engine, [Request(question, GREEDY)]))
    assert "Paris" in done.text
    assert done.finish_reason == "stop"
