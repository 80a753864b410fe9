"""Measure the prompted teacher: a model under its principles, its thoughts taken away.

The one idea: to a measure the teacher is an engine like any other. What it is asked becomes a
principle-driven prompt, and what comes back is the answer alone, so that teacher and student stand
in one table. A reply without an answer is an empty answer: the teacher then failed the task.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import replace

from woolgather.core.artifacts import Metrics
from woolgather.core.errors import CapabilityError
from woolgather.core.expected import Expected
from woolgather.core.op import op
from woolgather.core.rows import Example
from woolgather.engines.base import Completion, Engine, LogProb, Request
from woolgather.ops.measure.evaluate import EvaluationOptions, evaluate
from woolgather.ops.principles.prompt import Guide, Replying, expect_replies, replies
from woolgather.ops.principles.replies import cut_at_repeat
from woolgather.prompting.messages import Prompt


class Prompted(Engine):
    """An engine whose model answers by a guide. Only completions; a prompt's last user turn, or its
    text, is the question, and `how` says how it is asked, whatever a request wants."""

    def __init__(self, engine: Engine, guide: Guide, how: Replying) -> None:
        super().__init__(engine.model)
        self._engine, self._guide, self._how = engine, guide, how

    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        """Yields each request's place and its answer, without the thought, in order."""
        found = replies(
            requests,
            self._engine,
            self._guide,
            lambda request: _question(request.prompt),
            self._how,
        )
        for index, (_, reply) in enumerate(found):
            yield index, replace(reply.completion, text=cut_at_repeat(reply.answer or ""))

    def sequence_logprobs(
        self, prompts: Sequence[Prompt], continuations: Sequence[str], temperature: float = 1.0
    ) -> list[LogProb]:
        """Raises CapabilityError."""
        raise CapabilityError("a prompted teacher has likelihoods of thoughts, not of answers")


def _question(prompt: Prompt) -> str:
    text = prompt if isinstance(prompt, str) else prompt[-1].content
    return text.strip()


def _expect(
    tasks: Sized,
    engine: Engine,
    *,
    guide: Guide,
    how: Replying,
    probes: int,
    **_: object,
) -> Expected:
    return expect_replies(guide, how, probes + len(tasks))


@op("evaluate_teacher", version=3, expects=_expect)
def evaluate_teacher(
    tasks: Iterable[Example],
    engine: Engine,
    *,
    guide: Guide,
    how: Replying = Replying(),  # noqa: B008 - frozen
    probes: int = 600,
    probe_seed: int = 1,
    seed: int = 0,
) -> Metrics:
    """Returns what `evaluate` finds of the model behind `engine` under its principles, on the probes that
    report: a teacher is no candidate.

    It answers greedily, within the tokens that `how.sampling` gives for thought and answer. There is
    no likelihood; the value `prompted` says how many principles it is asked with.
    """
    greedy = how.sampling.model_copy(update={"temperature": 0.0})
    found = evaluate(
        tasks,
        Prompted(engine, guide, how.model_copy(update={"sampling": greedy})),
        how=EvaluationOptions(probes=probes, probe_seed=probe_seed, likelihood=False),
        purposes=("report",),
        seed=seed,
    )
    how_asked = f"{engine.model.prompt_format}, {len(guide.principles)} principles"
    return replace(found, values={**found.values, "prompted": how_asked})
