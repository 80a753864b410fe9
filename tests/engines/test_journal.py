"""What a journal remembers comes back as it was, and nothing is asked for it again."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from woolgather.engines.base import Completion, Request, Sampling, ask
from woolgather.engines.fake import FAKE_MODEL, FakeEngine
from woolgather.engines.journal import Journal, JournaledEngine
from woolgather.prompting.forms import FORMS
from woolgather.prompting.messages import Message

PROMPTS = ["one", (Message("user", "two é"),), "one"]
REQUESTS = [Request(prompt, Sampling()) for prompt in PROMPTS]


def never() -> NoReturn:
    raise AssertionError("everything is remembered")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.sqlite"


def test_every_kind_of_answer_comes_back_as_it_was(path: Path) -> None:
    inner = FakeEngine(["a", "b", "c"])
    first = JournaledEngine(FAKE_MODEL, Journal(path), lambda: inner)
    again = JournaledEngine(FAKE_MODEL, Journal(path), never)
    for journaled in (first, again):
        found = list(ask(journaled, REQUESTS))
        assert found == [
            Completion(text, "stop", words, 1) for text, words in (("a", 1), ("b", 3), ("c", 1))
        ], "a request that comes twice has two answers"
        options = ["yes", "no"]
        assert journaled.option_logprobs(PROMPTS, options) == inner.option_logprobs(
            PROMPTS, options
        )
        tails = ["x", "y z", "w"]
        assert journaled.sequence_logprobs(PROMPTS, tails) == inner.sequence_logprobs(
            PROMPTS, tails
        )
        vectors = journaled.embed(["v", "w"])
        for vector, exact in zip(vectors, inner.embed(["v", "w"]), strict=True):
            assert vector == pytest.approx(exact, rel=1e-6)
    assert inner.calls == 3
    assert (first.calls.remembered, again.calls.remembered) == (0, again.calls.requests)


def test_reasoning_is_remembered_beside_the_answer(path: Path) -> None:
    thought = FakeEngine(["<think>hm</think>yes", "<think>hm", "no"])
    first = JournaledEngine(FAKE_MODEL, Journal(path), lambda: thought)
    again = JournaledEngine(FAKE_MODEL, Journal(path), never)
    for journaled in (first, again):
        found = [(c.text, c.finish_reason, c.reasoning) for c in ask(journaled, REQUESTS)]
        assert found == [("yes", "stop", "hm"), ("", "length", "hm"), ("no", "stop", "")]


def test_what_an_earlier_version_stored_is_read_as_this_one_reads_it(path: Path) -> None:
    """It left reasoning, and stop texts that servers return, in the text."""
    journal = Journal(path)
    asked = Request("one", Sampling(stop=("###",)))
    list(JournaledEngine(FAKE_MODEL, journal, lambda: FakeEngine(["a"])).complete([asked]))
    old = json.dumps(["<think>hm ###</think>yes\n### Task", "length", 3, 9])
    journal._db.execute("UPDATE calls SET answer = ?", (old,))
    (found,) = ask(JournaledEngine(FAKE_MODEL, journal, never), [asked])
    assert found == Completion("yes\n", "stop", 3, 9, "hm ###")


def test_only_what_is_not_remembered_is_asked(path: Path) -> None:
    inner = FakeEngine(["a", "b", "c"])
    list(JournaledEngine(FAKE_MODEL, Journal(path), lambda: inner).complete(REQUESTS[:1]))
    more = JournaledEngine(FAKE_MODEL, Journal(path), lambda: inner)
    assert [c.text for c in ask(more, REQUESTS)] == ["a", "b", "c"]
    assert (inner.calls, more.calls.remembered) == (3, 1)


def test_an_error_is_not_remembered(path: Path) -> None:
    class Refusing(FakeEngine):
        def complete(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
            for index, _ in enumerate(requests):
                yield index, Completion("", "error")

    journal = Journal(path)
    failed = list(JournaledEngine(FAKE_MODEL, journal, Refusing).complete(REQUESTS[:1]))
    assert failed[0][1].finish_reason == "error"
    assert len(journal) == 0


def test_what_was_asked_in_one_form_is_not_remembered_in_another(path: Path) -> None:
    inner, journal = FakeEngine(["a", "b", "c", "d"]), Journal(path)
    for form, text in zip(FORMS, "abcd", strict=True):
        model = replace(FAKE_MODEL, prompt_format=form)
        for _ in range(2):
            journaled = JournaledEngine(model, journal, lambda: inner)
            assert [c.text for c in ask(journaled, REQUESTS[:1])] == [text]
    assert inner.calls == 4
