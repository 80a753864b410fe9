"""What is asked of vLLM and what is made of its answers, over the stub."""

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from woolgather.core.artifacts import Model
from woolgather.core.errors import CapabilityError, ConfigError, EngineError, InputError
from woolgather.engines.base import Completion, EngineOptions, Request, Sampling, ask
from woolgather.engines.journal import Journal, JournaledEngine
from woolgather.engines.vllm.adapters import name_adapter, read_adapter
from woolgather.engines.vllm.engine import VllmEngine
from woolgather.engines.vllm.hosted import AHEAD
from woolgather.prompting.messages import Message
from woolgather.prompting.renderer import Renderer

from .conftest import STUB, Asked

Opened = Callable[..., VllmEngine]
CHAT = (Message("user", "the dog"),)


def logprob(ids: list[int], token: int, adapter: str = "") -> float:
    """As in the stub."""
    return -(((31 * sum(ids[-3:]) + 17 * token + 7 * len(adapter)) % 600) / 100 + 0.01)


def written(prompt: list[int], count: int, seed: int) -> list[int]:
    """What the stub writes."""
    new: list[int] = []
    for _ in range(count):
        new.append(20 + ((prompt + new)[-1] + 1 + seed) % 60)
    return new


def test_our_ids_go_in_and_our_text_comes_out(
    shared: VllmEngine, tiny_model: Path, asked: Asked
) -> None:
    renderer = Renderer(tiny_model)
    asked.forget()
    how = Sampling(
        temperature=0.7, top_p=0.9, top_k=5, max_tokens=9, repetition_penalty=1.2, seed=4
    )
    found = list(ask(shared, [Request(CHAT, how), Request("one two", Sampling(max_tokens=60))]))
    ids = renderer.prompt_ids(CHAT)
    text = renderer.continuation_text(written(ids, 9, 4))
    assert found[0] == Completion(text, "length", len(ids), 9)
    # The stub ends with the end token after 40.
    raw = renderer.prompt_ids("one two")
    text = renderer.continuation_text(written(raw, 39, 0))
    assert found[1] == Completion(text, "stop", len(raw), 40)
    first, second = asked.read()
    assert first == {
        "ids": ids,
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 5,
        "repetition_penalty": 1.2,
        "seed": 4,
        "max_tokens": 9,
        "stop_token_ids": [*renderer.end_ids],
        "ignore_eos": True,
        "detokenize": False,
        "logprobs": None,
        "prompt_logprobs": None,
        "logprob_token_ids": None,
        "output_kind": "FINAL_ONLY",
    }
    assert second["ids"] == raw


def test_a_stop_text_ends_an_answer_as_it_is_written(
    shared: VllmEngine, tiny_model: Path, asked: Asked
) -> None:
    renderer = Renderer(tiny_model)
    asked.forget()
    whole = renderer.continuation_text(written(renderer.prompt_ids("the dog"), 30, 0))
    stop = whole[12:14]
    at = whole.index(stop)
    (found,) = ask(shared, [Request("the dog", Sampling(max_tokens=35, stop=("never!", stop)))])
    assert (found.text, found.finish_reason) == (whole[:at], "stop")
    assert found.completion_tokens < 30, "it went on to the end"
    assert asked.read()[0]["output_kind"] == "DELTA"


@pytest.mark.parametrize("word", ["abort", "error", "repetition", ""])
def test_a_word_that_we_do_not_know_is_never_success(
    shared: VllmEngine, asked: Asked, word: str
) -> None:
    odd = Path(f"{asked.path}.odd")
    odd.write_text(word)
    (found,) = ask(shared, [Request("the dog", Sampling(max_tokens=3))])
    assert (found.text, found.finish_reason) == ("", "error")
    with pytest.raises(EngineError, match="gave no log-probabilities"):
        shared.sequence_logprobs(["the dog"], [" sleeps"])
    with pytest.raises(EngineError, match="gave no log-probabilities"):
        shared.option_logprobs(["the dog"], ["Y"])
    odd.unlink()
    assert shared.sequence_logprobs(["the dog"], ["Y"])[0].tokens == 1


def test_log_probabilities_are_those_of_our_tokens(shared: VllmEngine, tiny_model: Path) -> None:
    engine, renderer = shared, Renderer(tiny_model)

    def total(prompt: list[int], tail: list[int]) -> float:
        return sum(logprob((prompt + tail)[: len(prompt) + i], t) for i, t in enumerate(tail))

    prompts = [CHAT, "one two"]
    ids = [renderer.prompt_ids(p) for p in prompts]
    tails = [" sleeps in the sun", "three"]
    found = engine.sequence_logprobs([*prompts, "a"], [*tails, ""])
    tokens = [renderer.continuation_ids(t) for t in tails]
    expected = [total(p, t) for p, t in zip(ids, tokens, strict=True)]
    assert [f.total for f in found] == pytest.approx([*expected, 0])
    assert [f.tokens for f in found] == [*map(len, tokens), 0]

    letters = [renderer.continuation_ids(o)[0] for o in "YNY"]
    assert engine.option_logprobs(prompts, ["Y", "N", "Y"]) == [
        pytest.approx([logprob(p, letter) for letter in letters]) for p in ids
    ]
    options = ["Yes it is", "N"]
    assert engine.option_logprobs(prompts, options) == [
        pytest.approx([total(p, renderer.continuation_ids(o)) for o in options]) for p in ids
    ]


def test_one_token_options_take_one_request_per_prompt_and_very_many_are_scored_alone(
    shared: VllmEngine, tiny_model: Path, asked: Asked
) -> None:
    asked.forget()
    shared.option_logprobs(["the dog", "the sun"], ["Y", "N"])
    assert [len(each["logprob_token_ids"]) for each in asked.read()] == [2, 2]
    asked.forget()
    renderer = Renderer(tiny_model)
    texts = {
        renderer.continuation_text([i]): i for i in range(3, len(renderer.tokenizer.get_vocab()))
    }
    one_token = [t for t, i in texts.items() if renderer.continuation_ids(t) == [i]]
    assert len(one_token) > 128
    (found,) = shared.option_logprobs(["the dog"], one_token)
    ids = renderer.prompt_ids("the dog")
    assert found == pytest.approx([logprob(ids, texts[t]) for t in one_token])
    assert len(asked.read()) == len(one_token)


def test_what_has_no_room_or_vllm_cannot_do_is_told(open_stub: Opened, tiny_model: Path) -> None:
    engine = open_stub(tiny_model, args={"max_model_len": 40})
    with pytest.raises(CapabilityError, match="temperature 1 only"):
        engine.sequence_logprobs(["a"], ["b"], 0.5)
    with pytest.raises(CapabilityError, match="vLLM has no trigram_penalty"):
        list(engine.complete([Request("a", Sampling(trigram_penalty=1.0))]))
    with pytest.raises(CapabilityError, match="longer than the 40"):
        engine.sequence_logprobs(["x" * 300], ["b"])
    with pytest.raises(InputError, match="without text"):
        engine.option_logprobs(["a"], [""])
    prompts = ["the dog", "x" * 300, "the sun", "y" * 300]
    found = list(ask(engine, [Request(p, Sampling(max_tokens=100)) for p in prompts]))
    assert [c.finish_reason for c in found] == ["length", "too_long", "length", "too_long"]
    assert found[0].prompt_tokens + found[0].completion_tokens == 40
    (alone,) = ask(engine, [Request("z" * 300, Sampling())])
    assert (alone.text, alone.finish_reason) == ("", "too_long")


def test_embeddings_are_those_of_the_transformers_engine(
    open_stub: Opened, tiny_model: Path
) -> None:
    from woolgather.engines.local.engine import TransformersEngine

    engine = open_stub(tiny_model)
    inside = TransformersEngine(Model(str(tiny_model), "t", "raw"), EngineOptions(dtype="float32"))
    list(engine.complete([Request("a", Sampling(max_tokens=2))]))
    assert engine.embed(["the dog", "x"]) == inside.embed(["the dog", "x"])
    assert engine._child is None, "two models in memory"
    embedder = engine._embedder
    assert embedder is not None
    list(engine.complete([Request("a", Sampling(max_tokens=2))]))
    assert embedder._child is None, "two models in memory"


def test_more_than_vllm_holds_is_fed_as_answers_come(shared: VllmEngine) -> None:
    count = 3 * AHEAD
    many = [Request(f"the dog {i}", Sampling(max_tokens=1 + i % 5)) for i in range(count)]
    found = list(ask(shared, many))
    assert [c.completion_tokens for c in found] == [1 + i % 5 for i in range(count)]


def test_a_call_given_up_leaves_nothing_in_vllm(shared: VllmEngine) -> None:
    def source() -> Iterator[Request]:
        for i in range(50):
            yield Request(f"the dog {i}", Sampling(max_tokens=1 if i == 0 else 400))

    stream = shared.complete(source())
    next(stream)
    stream.close()
    (found,) = ask(shared, [Request("the sun", Sampling(max_tokens=4))])
    assert found.completion_tokens == 4


@pytest.mark.parametrize("order", ["kill", "dead"])
def test_a_death_mid_request_is_survived_and_the_journal_asks_nothing_again(
    open_stub: Opened, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    sent = Asked(tmp_path / "asked")
    monkeypatch.setenv("VLLM_STUB_LOG", str(sent.path))
    monkeypatch.setenv("VLLM_STUB", f"{order}={tmp_path / 'died'}")
    requests = [Request(f"the dog {i}", Sampling(max_tokens=1 + i)) for i in range(12)]
    inner, journal = open_stub(tiny_model), Journal(tmp_path / "journal")
    engine = JournaledEngine(inner.model, journal, lambda: inner)
    found = list(ask(engine, requests))
    renderer = Renderer(tiny_model)
    ids = [renderer.prompt_ids(f"the dog {i}") for i in range(12)]
    assert [c.text for c in found] == [
        renderer.continuation_text(written(prompt, 1 + i, 0)) for i, prompt in enumerate(ids)
    ]
    assert (tmp_path / "died").exists()
    assert len(sent.read()) <= 24
    sent.forget()
    assert list(ask(JournaledEngine(inner.model, journal, lambda: inner), requests)) == found
    assert sent.read() == []
    journal.close()


def test_lack_of_memory_is_answered_by_fewer_texts_at_once(
    open_stub: Opened, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, log: Path
) -> None:
    monkeypatch.setenv("VLLM_STUB", "memory=128")
    (found,) = ask(open_stub(tiny_model), [Request("the dog", Sampling(max_tokens=3))])
    assert found.completion_tokens == 3
    sizes = re.findall(r'"max_num_seqs": (\d+)', log.read_text())
    assert sizes == ["256", "128"]


@pytest.mark.parametrize(
    ("order", "kind", "told"),
    [
        ("start=the KV cache is too small, decrease max_model_len", EngineError, "shorter context"),
        ("start=no kernel image", EngineError, "RuntimeError: no kernel image"),
        ("argument", ConfigError, "--engine-args: vLLM takes no such argument"),
        ("crash", EngineError, "ZeroDivisionError: an error of its own"),
    ],
)
def test_a_start_or_step_that_fails_is_told_at_once(
    open_stub: Opened,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    log: Path,
    order: str,
    kind: type[Exception],
    told: str,
) -> None:
    monkeypatch.setenv("VLLM_STUB", order)
    began = time.monotonic()
    engine = open_stub(tiny_model)
    with pytest.raises(kind, match=told):
        list(engine.complete([Request("a", Sampling())]))
    engine.close()
    said = log.read_text()
    assert said.count("vLLM takes") == 1, "it was started again"
    assert said.count("Traceback") >= 1
    assert time.monotonic() - began < 60


def test_closing_waits_for_every_process(
    open_stub: Opened, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_STUB", f"worker={tmp_path / 'worker'}")
    engine = open_stub(tiny_model)
    list(engine.complete([Request("a", Sampling(max_tokens=1))]))
    worker = psutil.Process(int((tmp_path / "worker").read_text()))
    engine.close()
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE


def test_our_settings_of_vllm_and_the_users(open_stub: Opened, tiny_model: Path, log: Path) -> None:
    engine = open_stub(tiny_model, dtype="auto", args={"max_num_seqs": 7})
    list(engine.complete([Request("a", Sampling(max_tokens=1))]))
    (line,) = re.findall(r"vLLM takes (\{.*\})", log.read_text())
    taken = json.loads(line)
    assert (taken["model"], taken["max_num_seqs"]) == (str(tiny_model), 7)
    assert taken["skip_tokenizer_init"]
    assert taken["generation_config"] == "vllm"
    assert taken["dtype"] in ("float32", "bfloat16")
    assert engine.served == [dict(engine._interpreter.packages)]
    assert engine._child is not None
    path = psutil.Process(engine._child.pid).environ()["PYTHONPATH"]
    assert path == str(STUB), "our own environment is not on the child's path"


# -- adapters ------------------------------------------------------------------------------------


@pytest.fixture
def adapter(tmp_path: Path, tiny_model: Path) -> Callable[..., Path]:
    def make(**config: object) -> Path:
        folder = tmp_path / "adapter"
        folder.mkdir()
        told = {"base_model_name_or_path": str(tiny_model), "r": 12, **config}
        (folder / "adapter_config.json").write_text(json.dumps(told))
        return folder

    return make


def test_an_adapter_is_loaded_on_its_base_under_its_contents_name(
    open_stub: Opened, adapter: Callable[..., Path], tiny_model: Path, log: Path
) -> None:
    path = str(adapter())
    engine, renderer = open_stub(Path(path)), Renderer(tiny_model)
    (found,) = engine.sequence_logprobs(["the dog"], ["Y"])
    letter = renderer.continuation_ids("Y")[0]
    assert found.total == pytest.approx(
        logprob(renderer.prompt_ids("the dog"), letter, name_adapter(path))
    )
    (line,) = re.findall(r"vLLM takes (\{.*\})", log.read_text())
    taken = json.loads(line)
    assert (taken["model"], taken["enable_lora"], taken["max_lora_rank"]) == (
        str(tiny_model),
        True,
        16,
    )


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({"modules_to_save": ["lm_head"]}, "modules that it trained whole"),
        ({"trainable_token_indices": {"embed_tokens": [2]}}, "rows of tokens"),
        ({"use_dora": True}, "DoRA"),
        ({"bias": "all"}, "biases"),
        ({"rank_pattern": {"q_proj": 1024}}, "a rank of 1024"),
    ],
)
def test_an_adapter_that_would_be_served_in_part_is_refused(
    open_stub: Opened, adapter: Callable[..., Path], config: dict[str, object], what: str
) -> None:
    path = adapter(**config)
    with pytest.raises(CapabilityError, match=f"with {what}.*the merged model"):
        read_adapter(str(path))
    with pytest.raises(CapabilityError, match="--engine transformers"):
        open_stub(path).option_logprobs(["a"], ["b"])


def test_one_vllm_answers_for_a_base_and_its_adapters_in_turn(
    open_stub: Opened, tiny_model: Path, tmp_path: Path, log: Path
) -> None:
    paths = [tmp_path / name for name in ("first", "second", "large")]
    for path, rank in zip(paths, (4, 8, 64), strict=True):
        path.mkdir()
        told = {"base_model_name_or_path": str(tiny_model), "r": rank}
        (path / "adapter_config.json").write_text(json.dumps(told))
    first, second, large, base = (open_stub(path) for path in (*paths, tiny_model))
    renderer = Renderer(tiny_model)
    prompt, letters = renderer.prompt_ids("the dog"), renderer.continuation_ids("YN")

    def score(engine: VllmEngine, adapter: str) -> None:
        (found,) = engine.sequence_logprobs(["the dog"], ["YN"])
        each = [logprob(prompt + letters[:i], t, adapter) for i, t in enumerate(letters)]
        assert found.total == pytest.approx(sum(each))

    assert not second.take_over(first)  # nothing runs yet
    score(first, name_adapter(str(paths[0])))
    assert not large.take_over(first)
    assert second.take_over(first)
    score(second, name_adapter(str(paths[1])))
    assert base.take_over(second)
    score(base, "")
    second.close()
    score(base, "")
    assert log.read_text().count("vLLM takes") == 1
