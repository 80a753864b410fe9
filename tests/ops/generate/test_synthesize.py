"""New instructions: what is read, what is accepted, when it stops, and each option's effect."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from woolgather.core.artifacts import PromptFormat
from woolgather.core.errors import ConfigError, YieldError
from woolgather.core.rows import Example
from woolgather.core.views import View
from woolgather.engines.base import Completion, Request, Sampling
from woolgather.engines.fake import FAKE_MODEL, FakeEngine
from woolgather.ops.curate.response_rules import InstructionRules
from woolgather.ops.curate.rouge_l import NoveltyOptions
from woolgather.ops.generate.demos import DemoOptions, Demos
from woolgather.ops.generate.numbered_list import read_items, stop_after, write_item
from woolgather.ops.generate.synthesize import Synthesis, synthesize
from woolgather.prompting.templates import Template, load

TEMPLATE = Template("t", "List of {{items}}:\n\n{{demos}}\n\n{{next}}. Task:")
WORDS = [f"{a}{b}" for a in "bdfgklmnprst" for b in ("alo", "ero", "inu", "oma", "uty")]
SEEDS = [
    Example(
        id=f"s{i}",
        instruction=f"Seed number {i} asks {WORDS[i]} {WORDS[i + 20]} {WORDS[i + 40]}",
        meta={"category": "abc"[i % 3]},
    )
    for i in range(9)
]


def fresh(seed: int) -> str:
    return " ".join(random.Random(seed).sample(WORDS, 8)).capitalize()


def writer(_: str, sampling: Sampling) -> str:
    """Two new tasks that follow from the request's seed: numbers 6 and 7 with five demos."""
    one, two = fresh(sampling.seed), fresh(sampling.seed + 1)
    return f" {one}\nInput: none\n\n7. Task: {two}\nInput: some {two.split()[-1]} text"


def drain(op: Generator[Example, None, list[View]]) -> tuple[list[Example], list[View]]:
    rows = []
    while True:
        try:
            rows.append(next(op))
        except StopIteration as end:
            return rows, end.value


def how(**settings: Any) -> Synthesis:
    plain = {"template": TEMPLATE, "sampling": Sampling(), "format": "raw"}
    return Synthesis(**{**plain, **settings})


def run(
    answer: Callable[[str, Sampling], str] = writer,
    *,
    n: int = 6,
    seed: int = 1,
    avoid: Iterable[list[Example]] = (),
    machine: Iterable[Example] = (),
    **settings: Any,
) -> list[Example]:
    engine, given = FakeEngine(answer=answer), how(**settings)
    return list(
        synthesize(SEEDS, engine, n=n, how=given, avoid=list(avoid), machine=machine, seed=seed)
    )


def accepted(rows: Iterable[Example]) -> list[Example]:
    return [row for row in rows if row.set_aside is None]


# ---- reading a list ----


def test_items_keep_inputs_and_lists_inside_them() -> None:
    text = (
        "6. Task: Sort these by price.\nInput: 1. milk\n2. eggs\n7. bread, since 2017\n\n"
        "7. Task: Name three rivers.\nInput: none\n\n8. Name a tree.\nInput: N/A"
    )
    items = read_items(text, 6, cut=False)
    assert [(i.instruction, i.problem) for i in items] == [
        ("Sort these by price.", None),
        ("Name three rivers.", None),
        ("Name a tree.", None),
    ]
    assert items[0].input == "1. milk\n2. eggs\n7. bread, since 2017"
    assert [i.input for i in items[1:]] == ["", ""]


def test_only_the_last_item_of_a_cut_text_is_dropped() -> None:
    text = "6. Task: One thing\nInput: none\n7. Task: Another th"
    assert [i.problem for i in read_items(text, 6, cut=True)] == [None, "cut"]
    assert [i.problem for i in read_items(text, 6, cut=False)] == [None, None]


def test_a_wrong_number_drops_its_item_alone() -> None:
    text = "".join(f"{n}. Task: Thing {n}\nInput: none\n" for n in (6, 9, 10))
    assert [i.problem for i in read_items(text, 6, cut=False)] == [None, "wrong_number", None]


def test_forms_that_models_add_are_read_or_refused() -> None:
    added = "6. **Task:** Add 2 and 3\n**Input:** none\nOutput: 5"
    assert read_items(added, 6, cut=False) == [("Add 2 and 3", "", None)]
    assert read_items("6. Task: Say hello\nand more\nof it", 6, cut=False)[0].problem == "malformed"
    assert read_items("just some prose", 6, cut=False)[0].problem == "malformed"
    assert read_items("  ", 6, cut=False) == []
    nonetheless = read_items("6. Task: Shorten\nInput: None the less, it rained", 6, cut=False)
    assert nonetheless[0].input == "None the less, it rained"


def test_what_is_written_is_read_back() -> None:
    row = Example(instruction="Sort these.", input="b\na")
    assert read_items(write_item(3, row), 3, cut=False) == [("Sort these.", "b\na", None)]


# ---- the op ----


def test_rows_are_new_machine_tasks_with_their_demos_as_parents() -> None:
    rows = run()
    assert len(accepted(rows)) == 6
    row = rows[1]
    assert row.id == ""
    assert row.input.startswith("some ")
    assert len(row.parents) == 5
    assert set(row.parents) <= {s.id for s in SEEDS}
    assert row.meta["origin"] == "machine"
    assert row.meta["prompt"] == 0
    assert 0 <= row.meta["nearest"] <= 0.7


def test_the_same_seed_gives_the_same_rows_and_another_others() -> None:
    assert run() == run()
    assert run() != run(seed=2)


def test_what_is_accepted_depends_neither_on_arrival_nor_on_the_size_of_batches() -> None:
    class Backwards(FakeEngine):
        def complete(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
            yield from reversed(list(super().complete(requests)))

    backwards = list(synthesize(SEEDS, Backwards(answer=writer), n=6, how=how(), seed=1))
    assert backwards == run()
    assert run(wave=1) == run(wave=7) == run()


def test_duplicates_of_seeds_held_out_machine_and_siblings_are_not_novel() -> None:
    held_out = [Example(instruction="Which planet has the most rings around it")]
    machine = [Example(instruction="Explain how bread rises in a warm oven")]
    texts = [
        SEEDS[0].instruction,
        held_out[0].instruction,
        machine[0].instruction,
        "Describe a quiet street at night",
        "Describe a quiet street at night!",
    ]

    def answer(_: str, __: Sampling) -> str:
        return "\n".join(f"{6 + i}. Task: {t}\nInput: none" for i, t in enumerate(texts))

    options: dict[str, Any] = {"n": 2, "max_prompts": 1, "avoid": [held_out], "machine": machine}
    rows = run(answer, **options)
    assert [r.set_aside for r in rows] == [*["not_novel"] * 3, None, "not_novel"]
    assert [r.meta["nearest"] for r in rows][:3] == [1.0, 1.0, 1.0]
    free = run(answer, **{**options, "n": 5}, novelty=NoveltyOptions(threshold=1.0))
    assert [r.set_aside for r in free] == [None] * 5
    unheld = run(answer, **{**options, "avoid": []})
    assert unheld[1].set_aside is None


def test_rules_name_the_reason_and_can_be_switched_off() -> None:
    def answer(_: str, sampling: Sampling) -> str:
        return f" {fresh(sampling.seed)}\nInput: none\n7. Task: Draw a cat {sampling.seed}\nInput: none"

    rows = run(answer, n=3)
    assert {r.set_aside for r in rows} == {None, "needs_media"}
    assert "nearest" not in next(r for r in rows if r.set_aside).meta
    off = run(answer, n=3, rules=InstructionRules(use="none"))
    assert "needs_media" not in {r.set_aside for r in off}


def test_the_prompt_holds_numbered_demos_and_ends_open() -> None:
    seen: list[tuple[str, Sampling]] = []

    def answer(prompt: str, sampling: Sampling) -> str:
        seen.append((prompt, sampling))
        return writer(prompt, sampling)

    run(answer, n=1, items=12, sampling=Sampling(stop=("END",)))
    prompt, sampling = seen[0]
    assert prompt.startswith("List of 12:\n\n1. Task: Seed number")
    assert prompt.endswith("\nInput: none\n\n6. Task:")
    assert sampling.stop == ("END", "\n13. Task:")
    for form in ("chat", "auto"):  # the fake model is prompted as a chat
        run(answer, n=1, format=form)
        chat = seen[-1][0]
        assert chat.startswith("user: List of 20:")
        assert chat.endswith("\nassistant: 6. Task:")
    assert how(format="auto").settled("raw").format == "raw"
    assert how(format="chat").settled("raw").format == "chat"


def test_the_stop_text_does_not_cut_a_text_with_its_number() -> None:
    def answer(_: str, __: Sampling) -> str:
        return " Explain what happened in 2017 to 17 people\nInput: none\n"

    rows = run(answer, n=1, items=16)
    assert stop_after(16) == "\n17. Task:"
    assert rows[0].instruction == "Explain what happened in 2017 to 17 people"


def test_prompts_are_bounded_and_fewer_rows_raise_an_alarm() -> None:
    calls = 0

    def rarely(_: str, sampling: Sampling) -> str:
        nonlocal calls
        calls += 1
        return f" {fresh(sampling.seed)}\nInput: none" if calls % 4 == 0 else "no list\nat all"

    rows, views = drain(
        synthesize(
            SEEDS, FakeEngine(answer=rarely), n=20, how=how(max_prompts=40, wave=8), seed=1
        )
    )  # fmt: skip
    assert calls == 40
    assert len(accepted(rows)) == 10
    assert [v.kind for v in views] == ["funnel", "histogram", "alarm"]
    assert views[0].data["reasons"] == {"malformed": 30}
    assert views[0].data["stages"][-1] == ["novel", 10]
    assert sum(views[1].data["series"]["accepted"]) == 10
    assert "10 of 20" in views[2].data["text"]
    assert how().bound(10) == 84
    assert how(max_prompts=3).bound(10) == 3


def test_hopeless_acceptance_ends_after_three_batches_with_advice() -> None:
    engine = FakeEngine(["nothing\nlike a list"])
    with pytest.raises(YieldError, match=r"0 tasks accepted of 50 .*malformed 12.*Remedy: .*form"):
        list(synthesize(SEEDS, engine, n=50, how=how(wave=4), seed=1))
    assert engine.calls == 12
    with pytest.raises(YieldError, match=r"not_novel.*more seeds"):
        run(lambda *_: f" {SEEDS[0].instruction}\nInput: none", max_prompts=4)
    with pytest.raises(YieldError, match=r"the model wrote nothing"):
        run(lambda *_: "6. Task:", max_prompts=2, rules=InstructionRules(use="none"))


@pytest.mark.parametrize(
    ("ended", "told"),
    [("too_long", r"prompt_too_long 2.*shorter demos"), ("error", r"engine_error 2.*see its log")],
)
def test_prompts_without_a_reply_are_counted(ended: Any, told: str) -> None:
    class Full(FakeEngine):
        def complete(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
            for i, _ in enumerate(requests):
                yield i, Completion("", ended)

    with pytest.raises(YieldError, match=told):
        list(synthesize(SEEDS, Full(), n=1, how=how(max_prompts=2)))


def test_no_more_prompts_are_asked_than_the_rate_calls_for() -> None:
    engine = FakeEngine(answer=writer)
    list(synthesize(SEEDS, engine, n=10, how=how(wave=4)))
    assert 5 <= engine.calls <= 6
    none = FakeEngine(answer=writer)
    assert list(synthesize(SEEDS, none, n=0, how=how(wave=4))) == []
    assert none.calls == 0


def test_settings_that_cannot_work_are_named() -> None:
    with pytest.raises(ConfigError, match=r"items is 5.*Set items higher"):
        run(items=5)
    with pytest.raises(ValidationError, match=r"wave\n.*greater than or equal to 1"):
        run(wave=0)
    with pytest.raises(ConfigError, match=r"there are 9.*demos.count lower"):
        run(demos=DemoOptions(count=10), items=20)
    with pytest.raises(ConfigError, match=r"of at most 2 words.*demos.max_words higher"):
        run(demos=DemoOptions(max_words=2))


def test_the_plan_is_a_bound_and_reads_no_rows() -> None:
    expected = synthesize.expects(
        iter(()), FakeEngine(), n=10, how=how(sampling=Sampling(max_tokens=50))
    )
    assert (expected.rows, expected.calls, expected.new_tokens) == (10, 84, 4200)


@pytest.mark.parametrize("name", ["synthesize", "synthesize-short"])
def test_our_templates_have_the_fields_and_an_open_end(name: str) -> None:
    template = load(name)
    assert template.fields == {"items", "demos", "next"}
    assert template.text.endswith("{{next}}. Task:")
    assert accepted(run(template=template))


# ---- demos ----


def picks(options: DemoOptions, machine: Iterable[Example] = (), **engine: Any) -> list[list[str]]:
    demos = Demos(SEEDS, machine, FakeEngine(**engine), options, seed=3)
    return [[row.id for row in demos.pick(i)] for i in range(300)]


@pytest.mark.parametrize("method", ["uniform", "inverse_perplexity", "density", "category"])
def test_every_method_shows_different_tasks_and_follows_from_the_seed(method: Any) -> None:
    options = DemoOptions(count=4, method=method)
    shown = picks(options)
    assert all(len(set(ids)) == 4 for ids in shown)
    assert shown == picks(options)
    assert len({tuple(ids) for ids in shown}) > 20


def test_methods_pick_by_what_they_say() -> None:
    category = {s.id: s.meta["category"] for s in SEEDS}
    by_category = picks(DemoOptions(count=3, method="category"))
    assert all({category[i] for i in ids} == {"a", "b", "c"} for ids in by_category)
    uniform = picks(DemoOptions(count=3))
    assert any(len({category[i] for i in ids}) < 3 for ids in uniform)

    engine = FakeEngine()
    scored = engine.sequence_logprobs(["Task:"] * 9, [f" {s.instruction}" for s in SEEDS])
    likelihood = {s.id: p.total / p.tokens for s, p in zip(SEEDS, scored, strict=True)}
    likely, unlikely = (
        max(likelihood, key=likelihood.__getitem__),
        min(likelihood, key=likelihood.__getitem__),
    )
    weighted = [i for ids in picks(DemoOptions(count=1, method="inverse_perplexity")) for i in ids]
    assert weighted.count(likely) > weighted.count(unlikely)


def test_density_shows_one_of_each_cluster() -> None:
    class Two(FakeEngine):
        def embed(self, texts: Any) -> list[list[float]]:
            return [[0.0, i * 0.001] if i < 7 else [9.0, i * 0.001] for i, _ in enumerate(texts)]

    demos = Demos(SEEDS, (), Two(), DemoOptions(count=2, method="density"), seed=3)
    for i in range(50):
        ids = {row.id for row in demos.pick(i)}
        assert len(ids & {"s7", "s8"}) == 1


def test_machine_tasks_serve_as_far_as_there_are_any() -> None:
    machine = [Example(id=f"m{i}", instruction=f"Machine task {i}") for i in range(3)]
    shown = picks(DemoOptions(count=5, with_machine=2), machine)
    assert all(sum(i.startswith("m") for i in ids) == 2 for ids in shown)
    few = picks(DemoOptions(count=5, with_machine=2), machine[:1])
    assert all(sum(i.startswith("m") for i in ids) == 1 and len(ids) == 5 for ids in few)
    none = picks(DemoOptions(count=5), machine)
    assert not any(i.startswith("m") for ids in none for i in ids)


def test_long_tasks_are_left_out_of_the_demos() -> None:
    long = Example(id="long", instruction="word " * 50)
    options = DemoOptions(count=5, max_words=20)
    demos = Demos([*SEEDS, long], (), FakeEngine(model=FAKE_MODEL), options, seed=3)
    assert all("long" not in [r.id for r in demos.pick(i)] for i in range(100))


@pytest.mark.parametrize(
    ("form", "sent"), [("raw", "raw"), ("blocks", "raw"), ("chat", "chat"), ("chatml", "chat")]
)
def test_auto_is_a_text_or_a_conversation_as_the_model_is_asked(
    form: PromptFormat, sent: str
) -> None:
    settings = how(format="auto")
    assert settings.settled(form).format == sent
    engine = FakeEngine(model=replace(FAKE_MODEL, prompt_format=form))
    values = dict.fromkeys(settings.template.fields, "x")
    assert isinstance(settings.prompt(engine, **values), str) == (sent == "raw")
