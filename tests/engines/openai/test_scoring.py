"""Log-probabilities in token ids and off the likeliest tokens, each way as a server knows it."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest

from woolgather.core.errors import CapabilityError
from woolgather.engines.base import LogProb
from woolgather.engines.openai.replies import Candidate, read_candidates
from woolgather.prompting.messages import Message

from ..serving import PROGRAM

TALK = (Message("user", "Is it a dog?"),)
BEGUN = (*TALK, Message("assistant", "Score:"))


def behind(ids: list[int], more: list[int]) -> float:
    """What the server says of tokens behind others."""
    sys.path.insert(0, str(PROGRAM.parent))
    try:
        from misbehaving_server import logprob_behind
    finally:
        sys.path.pop(0)
    return math.fsum(logprob_behind(ids + more[:i], token) for i, token in enumerate(more))


@pytest.mark.parametrize(("way", "each"), [("plain", 0.0), ("forced", 1.0)])
def test_a_continuation_is_scored_in_ids(server, engine_at, model, ours, vocabulary, way, each):
    server.tell(vocabulary=vocabulary, logprobs=way)
    engine = engine_at(server.url, model=model)
    pairs = [
        (TALK, "the dog"),
        (BEGUN, " 10"),
        ("The dog", " sleeps in the sun"),
        ("", "dog"),
        (TALK, ""),
    ]
    found = engine.sequence_logprobs([p for p, _ in pairs], [c for _, c in pairs])
    wanted = []
    for prompt, text in pairs:
        ids, more = ours.prompt_ids(prompt) or [ours.eos_id], ours.continuation_ids(text)
        wanted.append((behind(ids, more) - each * len(more), len(more)))
    assert [log.tokens for log in found] == [count for _, count in wanted]
    assert [log.total for log in found] == [pytest.approx(total) for total, _ in wanted]
    assert engine.served[0]["log_probabilities"] == ("echo" if way == "plain" else way)


@pytest.mark.parametrize(("way", "each"), [("plain", 0.0), ("forced", 1.0)])
def test_options_are_scored_in_ids(server, engine_at, model, ours, vocabulary, way, each):
    server.tell(vocabulary=vocabulary, logprobs=way)
    engine = engine_at(server.url, model=model)
    ids = ours.prompt_ids(BEGUN)
    for options in (["1", "2"], ["1", " the dog"]):
        more = [ours.continuation_ids(option) for option in options]
        (found,) = engine.option_logprobs([BEGUN], options)
        assert found == [pytest.approx(behind(ids, m) - each * len(m)) for m in more]
    if way == "plain":
        # Options of one token are asked all at once.
        at_once = [b for b in server.bodies if "logprob_token_ids" in b]
        assert [len(b["logprob_token_ids"]) for b in at_once] == [2]


@pytest.mark.parametrize("way", ["none", "biased"])
def test_a_server_that_gives_none_names_what_can_do_without(
    server, engine_at, model, vocabulary, way
):
    server.tell(vocabulary=vocabulary, logprobs=way)
    engine = engine_at(server.url, model=model)
    with pytest.raises(CapabilityError, match=r"candidates=\[rubric\]"):
        engine.sequence_logprobs([TALK], ["yes"])
    with pytest.raises(CapabilityError, match=r"candidates=\[rubric\]"):
        engine.option_logprobs([TALK], ["the dog"])
    server.tell(vocabulary=vocabulary, refuse=["logprobs"])
    with pytest.raises(CapabilityError, match=r"candidates=\[rubric\]"):
        engine_at(server.url, model=model).option_logprobs([TALK], ["1", "2"])


def test_options_are_read_off_the_likeliest_tokens(server, engine_at, caplog):
    likeliest = {"Yes": math.log(0.5), " Yes": math.log(0.125), "It": math.log(0.25)}
    server.tell(logprobs="likeliest", likeliest=likeliest)
    engine = engine_at(server.url)
    # "No" has less than the least likely that is shown, and than all the rest, which is 0.125.
    wanted = [pytest.approx(math.log(0.625)), pytest.approx(math.log(0.125))]
    for prompt in (TALK, BEGUN, "Is it a dog?"):
        (found,) = engine.option_logprobs([prompt], [" Yes", " No"])
        assert found == wanted
    (unseen,) = engine.option_logprobs([TALK], [" 1", " 2"])
    assert all(map(math.isnan, unseen))
    assert caplog.text.count("read off the likeliest next tokens") == 1
    with pytest.raises(CapabilityError, match=r"several words apart.*candidates=\[rubric\]"):
        engine.option_logprobs([TALK], [" 1 -", " 10 -"])


def test_prompts_are_scored_a_few_at_once(server, engine_at, model, vocabulary):
    server.tell(vocabulary=vocabulary, delay=0.02)
    engine = engine_at(server.url, model=model, concurrency=64)
    found = engine.sequence_logprobs(["The dog"] * 40, [" sleeps"] * 40)
    assert len(found) == 40
    assert server.stats["most_in_flight"] <= 16


def test_a_text_too_long_to_score_says_so(server, engine_at, model, vocabulary):
    server.tell(vocabulary=vocabulary, context=200)
    with pytest.raises(CapabilityError, match=r"too_long.*Set long rows aside"):
        engine_at(server.url, model=model).sequence_logprobs(["dog " * 100], ["x"])


def test_a_busy_server_is_scored_on_all_the_same(server, engine_at, model, ours, vocabulary):
    server.tell(
        vocabulary=vocabulary, logprobs="forced", faults=["429:0", "ok", "500", "ok", "cut"]
    )
    (found,) = engine_at(server.url, model=model).sequence_logprobs([TALK], ["the dog"])
    more = ours.continuation_ids("the dog")
    assert found == LogProb(
        pytest.approx(behind(ours.prompt_ids(TALK), more) - len(more)), len(more)
    )


A, B = {"id": 4, "token": "a", "logprob": -1.0}, {"id": 5, "token": "b", "logprob": -2.0}


@pytest.mark.parametrize(("told", "expected"), [
    ({"content": [{**B, "top_logprobs": [A, B]}, A]}, [(5, "b", -2.0), (4, "a", -1.0)]),
    ({"content": [{"token": "a", "logprob": -1, "top_logprobs": []}]}, [(None, "a", -1.0)]),
    ({"tokens": ["token_id:5"], "token_logprobs": [-2.0], "top_logprobs": [{"token_id:4": -1.0}]},
     [(5, "token_id:5", -2.0), (4, "token_id:4", -1.0)]),
    ({"tokens": ["b"], "token_logprobs": [-2.0], "top_logprobs": None}, [(None, "b", -2.0)]),
    ({"content": []}, []), ({"content": None}, []), ({}, []), (None, []), ("none", []),
    ({"content": [{"token": "a", "logprob": None}]}, []),
])  # fmt: skip
def test_what_is_told_of_the_next_token(told: Any, expected: list[tuple[Any, ...]]) -> None:
    found = read_candidates({"choices": [{"text": "", "logprobs": told}]})
    assert found == [Candidate(*one) for one in expected]


def test_llama_cpp_of_old_tells_it_beside_the_choices() -> None:
    reply = {"choices": [{"text": ""}], "completion_probabilities": [{**A, "top_logprobs": [A]}]}
    assert read_candidates(reply) == [Candidate(4, "a", -1.0)]
