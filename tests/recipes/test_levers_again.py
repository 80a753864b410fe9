"""Levers of I-SHEEP when a run is killed in them, and when one of their settings is changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import wraps
from pathlib import Path

import pytest
from dry import Dry, steps
from test_levers import KNOWN, ONE, PAIRS, chatty

from woolgather.core.artifacts import Model
from woolgather.core.expected import Expected
from woolgather.core.op import Op
from woolgather.engines.base import Completion, LogProb, Request, Sampling
from woolgather.engines.fake import FakeEngine, text_of
from woolgather.ops.generate.pair_checked import checked_tasks, pair_checked
from woolgather.ops.generate.practice import add_practice
from woolgather.ops.generate.respond import respond
from woolgather.ops.generate.reword import reword
from woolgather.ops.generate.verify import verify
from woolgather.ops.measure.evaluate import evaluate
from woolgather.ops.measure.select import best_of
from woolgather.ops.train.dpo import dpo
from woolgather.ops.train.merge import merge
from woolgather.prompting.messages import Prompt
from woolgather.recipes import isheep
from woolgather.runs.progress import Progress

LEVERS = [
    f"practice.tasks={len(KNOWN)}", *PAIRS, "per_iteration=20", "verify.answers=6",
    "verify.paraphrases=2", "pairs.ratio=[0.1,10]",
]  # fmt: skip
DRY = Dry(isheep, [*ONE, *LEVERS])
PLACES: dict[str, Op[..., object]] = {
    "iter0/practice": add_practice,
    "iter0/respond": respond,
    "iter0/reword": reword,
    "iter0/verify": verify,
    "pairs/tasks": checked_tasks,
    "pairs/respond": respond,
    "pairs/pairs": pair_checked,
    "pairs/train": dpo,
    "pairs/merge-0.75": merge,
    "pairs/measure-0.5": evaluate,
    "pairs/scale": best_of,
}
ROWS = 3
"""Rows that a step has made when its run is killed."""


class Killed(BaseException):
    """Ends a launch on the spot."""


class Watching(Progress):
    """Knows which step is running."""

    step = ""

    def step_started(self, step: str, why: str, expected: Expected) -> None:
        self.step = step


class Counting(FakeEngine):
    """Gives half of the tasks for practice their right answer, says of others what `chatty` does, and
    counts every question by what makes it one of its own."""

    def __init__(self, model: Model, asked: Counter[tuple[object, ...]]) -> None:
        super().__init__(answer=self._say, model=model)
        self._other, self._asked = chatty(model), asked

    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        def counted() -> Iterator[Request]:
            for request in requests:
                self._asked[self.model.fingerprint, text_of(request.prompt), request.sampling] += 1
                yield request

        return super().complete(counted())

    def _say(self, prompt: str, sampling: Sampling) -> str:
        right = next((said for asked, said in KNOWN.items() if asked in prompt), None)
        if right and sampling.seed % 2:
            return right
        (found,) = self._other.complete([Request(prompt, sampling)])
        return found[1].text

    def sequence_logprobs(
        self, prompts: Sequence[Prompt], continuations: Sequence[str], temperature: float = 1.0
    ) -> list[LogProb]:
        pairs = zip(map(text_of, prompts), continuations, strict=True)
        self._asked.update((self.model.fingerprint, *pair) for pair in pairs)
        return super().sequence_logprobs(prompts, continuations, temperature)


def launch(folder: Path, asked: Counter[tuple[object, ...]], watching: Watching) -> None:
    with DRY.opened(folder, engine=lambda model, *_: Counting(model, asked)) as run:
        run.progress = watching
        isheep.recipe(run, DRY.built())


def break_off(
    monkeypatch: pytest.MonkeyPatch, op: Op[..., object], step: str, watching: Watching
) -> None:
    """Has an op end its launch in a step: after some rows, or when all is made and not yet recorded."""
    function = op.function

    @wraps(function)
    def work(*args: object, **kwargs: object) -> object:
        made = function(*args, **kwargs)
        if watching.step != step:
            return made
        if not isinstance(made, Iterator):
            raise Killed
        return some(made)

    def some(rows: Iterator[object]) -> Iterator[object]:
        for _, row in zip(range(ROWS), rows, strict=False):
            yield row
        raise Killed

    monkeypatch.setattr(op, "function", work)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Counter[tuple[object, ...]]]:
    """A run that nothing disturbed, and what it asked."""
    folder, asked = tmp_path_factory.mktemp("whole") / "run", Counter[tuple[object, ...]]()
    launch(folder, asked, Watching())
    return folder, asked


def test_a_run_killed_in_each_step_asks_nothing_again(
    whole: tuple[Path, Counter[tuple[object, ...]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    undisturbed, expected = whole
    folder, asked = tmp_path / "run", Counter[tuple[object, ...]]()
    for step, op in PLACES.items():
        watching = Watching()
        with monkeypatch.context() as patched:
            break_off(patched, op, step, watching)
            with pytest.raises(Killed):
                launch(folder, asked, watching)
        assert watching.step == step
        assert step not in steps(folder)
    launch(folder, asked, Watching())
    assert asked == expected
    made, undisturbed_steps = steps(folder), steps(undisturbed)
    assert made.keys() == undisturbed_steps.keys()
    assert {name: record.digest for name, (_, record) in made.items()} == {
        name: record.digest for name, (_, record) in undisturbed_steps.items()
    }


@pytest.mark.parametrize(
    ("override", "own", "told"),
    [
        ("practice.tasks=16", {"iter0/practice"}, "args.how.tasks"),
        ("practice.tier=easy", {"iter0/practice"}, "args.how.tier"),
        ("verify.chance=0.1", {"iter0/verify"}, "args.how.chance"),
        ("verify.two=0", {"iter0/verify"}, "args.how.two"),
        ("verify.paraphrases=3", {"iter0/reword"}, "args.n"),
        ("verify.reword.sampling.temperature=0.5", {"iter0/reword"}, "args.how.sampling"),
        ("pairs.prompts=30", {"pairs/tasks"}, "args.limit"),
        ("pairs.samples=6", {"pairs/respond", "pairs/pairs"}, "samples"),
        ("pairs.sampling.temperature=0.9", {"pairs/respond"}, "args.how.sampling"),
        ("pairs.ratio=[0.2,5]", {"pairs/pairs"}, "args.how.ratio"),
        ("pairs.dpo.beta=0.2", {"pairs/train"}, "args.config.beta"),
        ("pairs.lora_scale=[0.5,1]", {"pairs/scale"}, "args.measures"),
    ],
)
def test_a_setting_changes_what_depends_on_it_and_says_so(
    whole: tuple[Path, Counter[tuple[object, ...]]], override: str, own: set[str], told: str
) -> None:
    folder, _ = whole
    DRY.holds(folder, override, own, {}, LEVERS)
    plan = DRY.planned(folder, override)
    assert all(told in plan[step][1] for step in own), {step: plan[step][1] for step in own}
