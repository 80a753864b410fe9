"""A base is asked in the form in which it answers; likelihood rules out and breaks ties."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest

from woolgather.core.artifacts import Choice, Model, PromptFormat
from woolgather.core.errors import CapabilityError
from woolgather.core.rows import Example
from woolgather.engines.base import Completion, LogProb, Request
from woolgather.engines.fake import FAKE_MODEL, FakeEngine
from woolgather.ops.measure.prompt_format import MARGIN, PROBE_SEED, PROBES, choose_format
from woolgather.probes import generate, task_of
from woolgather.prompting.forms import FORMS, spell_out
from woolgather.prompting.messages import Prompt
from woolgather.prompting.turns import answer_prompt

ROWS = [Example(instruction=f"Say {i}", response="yes it is") for i in range(4)]
LEVEL: Mapping[PromptFormat, float] = dict.fromkeys(FORMS, 2.0)
SET = generate(PROBES, PROBE_SEED, purpose="select")
TASKS = [*map(task_of, SET), *ROWS]


class Base(FakeEngine):
    """Passes the first `passes[form]` probes of each form; every token costs `loss[form]`. It has no
    likelihoods in a form that is not in `loss`, and none of rows whose question is in `too_long`."""

    def __init__(
        self,
        asked: str,
        passes: Mapping[PromptFormat, int],
        loss: Mapping[PromptFormat, float],
        too_long: Sequence[str] = (),
        takes: Sequence[PromptFormat] = FORMS,
    ) -> None:
        super().__init__(model=replace(FAKE_MODEL, prompt_format=asked))  # type: ignore[arg-type]
        self.passes, self.loss, self.too_long, self.takes = passes, loss, too_long, takes
        self.forms: list[PromptFormat] = []
        self.log: list[str] = []
        self.stops: dict[PromptFormat, tuple[str, ...]] = {}
        sent = [f for f in FORMS if (f == "chat") == (asked == "chat")]
        self.known = {spell_out(answer_prompt(t, f), f): (f, t) for f in sent for t in TASKS}

    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        self.log.append(self.model.prompt_format)
        right = {probe.id: probe.reference for probe in SET}
        for index, request in enumerate(requests):
            form, task = self.known[request.prompt]
            if form not in self.takes:
                raise CapabilityError(f"no {form}")
            assert request.sampling.temperature == 0
            self.forms.append(form)
            self.stops[form] = request.sampling.stop
            passes = [p.id for p in SET].index(task.id) < self.passes.get(form, 0)
            yield index, Completion(right[task.id] if passes else "@", "stop")

    def sequence_logprobs(
        self, prompts: Sequence[Prompt], continuations: Sequence[str], temperature: float = 1.0
    ) -> list[LogProb]:
        self.log.append(self.model.prompt_format)
        known = [self.known[prompt] for prompt in prompts]
        if any(f not in self.loss or t.instruction in self.too_long for f, t in known):
            raise CapabilityError("no likelihood")
        assert {*continuations} == {"yes it is"}
        return [LogProb(-3 * self.loss[form], 3) for form, _ in known]


def choose(
    passes: Mapping[PromptFormat, int],
    loss: Mapping[PromptFormat, float] = LEVEL,
    too_long: Sequence[str] = (),
    takes: Sequence[PromptFormat] = FORMS,
) -> tuple[Choice, list[PromptFormat]]:
    """The choice, and the forms in which probes were asked, in that order."""
    text, chat = (Base(asked, passes, loss, too_long, takes) for asked in ("raw", "chat"))
    choice = choose_format(ROWS, text, chat)
    return choice, list(dict.fromkeys([*chat.forms, *text.forms]))


@pytest.mark.parametrize("form", FORMS)
def test_a_model_that_answers_in_one_form_is_asked_in_it(form: PromptFormat) -> None:
    choice, asked = choose({form: 20})
    assert choice.value == form
    assert asked == ["chat", "raw", "blocks", "chatml"]
    assert choice.why.startswith("it passes most probes; loss per token on 4 seed responses: ")
    assert "raw 2.000, blocks 2.000, chat 2.000, chatml 2.000" in choice.why
    assert f"of {PROBES} probes passed: " in choice.why
    assert f"{form} 20" in choice.why


def test_a_lower_loss_does_not_outweigh_the_answers() -> None:
    choice, _ = choose({"blocks": 20, "raw": 1}, {**LEVEL, "raw": 2.0 - 0.9 * MARGIN})
    assert choice.value == "blocks"


def test_likelihood_decides_within_noise() -> None:
    choice, _ = choose({"blocks": 12, "raw": 11, "chat": 11}, {**LEVEL, "chat": 1.9})
    assert choice.value == "chat"
    assert "within noise" in choice.why


def test_a_form_that_is_far_less_likely_is_not_asked() -> None:
    loss = {**LEVEL, "chatml": 2.0 + 1.1 * MARGIN, "chat": 2.0 + 0.9 * MARGIN}
    choice, asked = choose({"chatml": 40, "chat": 20}, loss)
    assert (choice.value, asked) == ("chat", ["chat", "raw", "blocks"])
    rows = choice.views[0].data["rows"]
    assert ["chatml", pytest.approx(2.55), None] in rows
    assert ["chat", pytest.approx(2.45), 20.0] in rows


def test_where_one_form_is_left_no_probe_is_asked() -> None:
    choice, asked = choose({"chat": 40}, {**LEVEL, "blocks": 0.5})
    assert (choice.value, asked) == ("blocks", [])
    assert "probes passed: not asked" in choice.why


def test_rows_that_are_too_long_are_left_out() -> None:
    choice, _ = choose({"chat": 20}, LEVEL, too_long=["Say 1", "Say 3"])
    assert choice.value == "chat"
    assert "on 2 seed responses: raw 2.000" in choice.why


def test_without_likelihoods_the_probes_decide() -> None:
    choice, asked = choose({"chatml": 20, "raw": 19}, {})
    assert (choice.value, len(asked)) == ("chatml", 4)
    assert "seed responses: not known" in choice.why
    served, _ = choose({"chat": 20, "raw": 19}, {"raw": 2.0, "blocks": 2.0, "chatml": 2.0})
    assert served.value == "chat", "a server has no likelihoods of a conversation"


def test_a_form_that_is_not_taken_is_not_chosen() -> None:
    loss = {form: 2.0 for form in FORMS if form != "chat"}
    choice, asked = choose({"raw": 9}, loss, takes=["raw", "blocks", "chatml"])
    assert (choice.value, asked) == ("raw", ["raw", "blocks", "chatml"])
    with pytest.raises(CapabilityError, match="no chatml"):
        choose({}, {}, takes=[])
    with pytest.raises(CapabilityError, match="no raw"):
        choose({"blocks": 20}, LEVEL, takes=["blocks", "chat", "chatml"])


def test_texts_end_where_their_form_says() -> None:
    text, chat = (Base(asked, {}, LEVEL) for asked in ("raw", "chat"))
    choose_format(ROWS, text, chat)
    assert text.stops == {"raw": (), "blocks": ("\n### ",), "chatml": ("<|im_end|>",)}
    assert chat.stops == {"chat": ()}


def test_the_engines_take_turns_as_seldom_as_can_be() -> None:
    text, chat = (Base(asked, {}, LEVEL) for asked in ("raw", "chat"))
    text.log = chat.log
    choose_format(ROWS, text, chat)
    assert [name for name, _ in groupby(text.log)] == ["raw", "chat", "raw"]


def test_a_plan_counts_what_is_asked_in_the_forms_that_there_are(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text("{}")
    engines = [FakeEngine(model=Model(path)) for path in ("org/name", str(tmp_path))]
    served, here = (choose_format.expects(ROWS, e, e, rows_used=32, probes=48) for e in engines)
    assert (served.calls, here.calls) == (4 * 80, 3 * 80)
    assert (here.new_tokens, here.value) == (3 * 48 * 64, "blocks")


@pytest.mark.real
def test_the_embedded_model_answers_in_blocks_or_in_turns(smollm2: Path) -> None:
    from woolgather.data import builtin_seeds, read_examples
    from woolgather.engines import open_engine
    from woolgather.engines.base import EngineOptions

    seeds = list(read_examples(builtin_seeds()))[:4]
    model = Model(str(smollm2), "m")
    text, chat = (
        open_engine(replace(model, prompt_format=form), EngineOptions()) for form in ("raw", "chat")
    )
    try:
        rows = [*seeds, replace(seeds[0], response="so on " * 9000)]
        choice = choose_format(rows, text, chat, probes=10)
    finally:
        text.close()
        chat.close()
    assert choice.value in ("blocks", "chat")
    assert "on 4 seed responses" in choice.why
    assert "chatml" not in choice.why, "its own template is ChatML"
