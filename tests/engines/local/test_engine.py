"""Text from a tiny model is what transformers itself writes, whatever else is asked beside it."""

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.artifacts import Model
from woolgather.core.errors import InputError
from woolgather.engines.base import EngineOptions, Request, Sampling, ask
from woolgather.prompting.messages import Message

from ...conftest import CHATML, save_tokenizer
from ..tiny import GREEDY, SHARED, make, plain_tokens, prompts, reference

pytestmark = pytest.mark.usefixtures("one_thread")


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


@pytest.mark.parametrize("company", [["short"], []], ids=["shared by some", "shared by all"])
def test_a_sliding_window_is_kept_behind_a_shared_prefix(
    tmp_path: Path, company: list[str]
) -> None:
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
    requests = [Request(p, GREEDY) for p in [*(SHARED + f"{i}" for i in range(4)), *company]]
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
    from woolgather.engines.local.sample import choose
    from woolgather.engines.rendered import Unfinished

    logits = next_logits(engine)
    rows = [Unfinished(0, [5], Sampling(seed=i, **sampling), 1) for i in range(n)]
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

    from woolgather.engines.local.sample import _penalize
    from woolgather.engines.rendered import Unfinished

    logits = torch.tensor([[3.0, -2.0, 1.0, 0.5], [3.0, -2.0, 1.0, 0.5]])
    rows = [
        Unfinished(0, [0, 1], Sampling(repetition_penalty=1.5), 4),
        Unfinished(1, [3], Sampling(), 4),
    ]
    rows[0].new.append(2)
    ours = _penalize(logits, rows)
    theirs = RepetitionPenaltyLogitsProcessor(1.5)(torch.tensor([[0, 1, 2]]), logits[:1])
    assert torch.equal(ours[:1], theirs)
    assert torch.equal(ours[1], logits[1])


@pytest.mark.parametrize(
    ("new", "settings", "lost"),
    [
        # 7 8 was followed by 1 twice and by 2 once: c3(1) = 2, c3(2) = 1.
        ([7, 8, 1, 7, 8, 2, 7, 8, 1, 7, 8], {"trigram_penalty": 1.0}, {1: 2.0, 2: 1.0}),
        # 1 7 8 was followed by 2 once; the other runs that end in 7 8 begin with 2, or with nothing.
        ([7, 8, 1, 7, 8, 2, 7, 8, 1, 7, 8], {"quadgram_penalty": 2.0}, {2: 2.0}),
        (
            [7, 8, 1, 7, 8, 2, 7, 8, 1, 7, 8],
            {"trigram_penalty": 1.0, "quadgram_penalty": 2.0},
            {1: 2.0, 2: 3.0},
        ),
        ([3, 3, 3, 3], {"trigram_penalty": 0.5}, {3: 1.0}),  # runs may overlap
        ([7, 8, 1, 8, 7], {"trigram_penalty": 1.0}, {}),
        ([7, 8], {"trigram_penalty": 1.0, "quadgram_penalty": 1.0}, {}),
        ([], {"trigram_penalty": 1.0}, {}),
    ],
)
def test_a_run_of_tokens_that_comes_again_costs_its_last_token(
    new: list[int], settings: dict[str, float], lost: dict[int, float]
) -> None:
    """By hand; the prompt, though it holds the same run, does not count."""
    import torch

    from woolgather.engines.local.sample import choose
    from woolgather.engines.rendered import Unfinished

    logits = torch.tensor([0.5, 3.0, 2.5, 1.0, 0.0, 0.0, 0.0, 0.25, 0.125])
    prompt = [7, 8, 4, 7, 8, 4]
    row = Unfinished(0, prompt, Sampling(temperature=0, **settings), 40)
    row.new = list(new)  # a row begins empty
    other = Unfinished(1, prompt, Sampling(temperature=0), 40)
    expected = logits.clone()
    for token, penalty in lost.items():
        expected[token] -= penalty
    ours = _penalized(logits.repeat(2, 1), [row, other])
    assert torch.equal(ours[0], expected)
    assert torch.equal(ours[1], logits)
    assert choose(logits.repeat(2, 1), [row, other]) == [int(expected.argmax()), 1]


def _penalized(logits: Any, rows: list[Any]) -> Any:
    from woolgather.engines.local.sample import _penalize_runs

    return _penalize_runs(logits, rows)


def test_with_a_large_penalty_no_run_of_three_comes_twice(either: Any) -> None:
    import torch

    from woolgather.engines.local.sample import choose
    from woolgather.engines.rendered import Unfinished

    held = Sampling(temperature=0, max_tokens=40, trigram_penalty=1000.0)
    logits = torch.linspace(2.0, 0.0, 30)[None]
    row = Unfinished(0, [0], held, 40)
    for _ in range(40):
        row.new += choose(logits, [row])
    assert len(set(zip(row.new, row.new[1:], row.new[2:], strict=False))) == 38
    # The tiny model repeats no run by itself; with the sign turned, the first pair of tokens that comes
    # again brings what came after it, and so begins a loop.
    turned = held.model_copy(update={"max_tokens": 200, "trigram_penalty": -1000.0})
    plain = Request("The dog", turned.model_copy(update={"trigram_penalty": 0.0}))
    texts = [c.text for c in ask(either, [plain, Request("The dog", turned), plain])]
    assert texts[0] == texts[2]
    assert texts[1] != texts[0]
    assert texts[1][-9:] in texts[1][:-9]


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
    from woolgather.engines.local.decode import WINDOW

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


@pytest.mark.real
def test_the_embedded_model_answers(smollm2: Path) -> None:
    from woolgather.engines.local.engine import TransformersEngine

    engine = TransformersEngine(Model(str(smollm2), "s", "chat"), EngineOptions())
    assert engine.shares
    question = (Message("user", "What is the capital of France? Answer in one sentence."),)
    done = next(ask(engine, [Request(question, GREEDY)]))
    assert "Paris" in done.text
    assert done.finish_reason == "stop"


def test_a_recurrent_model_is_refused_with_what_to_do(tmp_path: Path) -> None:
    from transformers import MambaConfig, MambaForCausalLM

    names = {"eos_token": "<|im_end|>", "chat_template": CHATML}
    size = save_tokenizer(tmp_path, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], **names)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "state_size": 4}
    MambaForCausalLM(MambaConfig(vocab_size=size, **shape)).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"of the kind mamba keeps a state .*use --engine openai"):
        make(tmp_path)
