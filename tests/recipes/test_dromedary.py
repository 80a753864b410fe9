"""Dromedary on the fake engine: both variants end, a second run executes nothing, an option re-runs
the steps it concerns and their dependants, and training sees nothing of the prompt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from dry import Dry, steps

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError, InputError
from woolgather.core.storage import read_rows
from woolgather.engines.base import Sampling
from woolgather.engines.fake import FakeEngine, make_text
from woolgather.ops.principles.files import builtin, read_exemplars, read_principles
from woolgather.ops.principles.replies import CopiedText
from woolgather.recipes import config, dromedary
from woolgather.runs.record import StepRecord, current_steps
from woolgather.runs.run import Run

BASE = ["base=fake", "measure.probes=22", "judge.pairs=24", "adherence.sample=8", "pool.limit=24"]
V1 = [*BASE, "variant=v1", "tasks=12", "questions.n=12", "topics.rounds=2"]
THOUGHT = "I am asked something odd. Principles: candor, static."


def written(prompt: str, sampling: Sampling) -> str:
    """The fake's own replies, with this thought where one is begun."""
    text, mark = make_text(prompt, sampling), "\n\n### Answer\n"
    return f"{THOUGHT}{mark}{text.partition(mark)[2]}" if prompt.endswith("### Thought\n") else text


def open_engine(model: Model, *_: Any) -> FakeEngine:
    return FakeEngine(answer=written, model=model)


DRY = Dry(dromedary)
built = DRY.built
BY_VALUE = {
    step: {"engrave/mix"}
    for step in ("control/draw", "control/seeds-alone", "control/plain-answers")
}
"""Controls get as many prompts and updates."""


def opened(folder: Path, **options: Any) -> Run:
    return DRY.opened(folder, **{"engine": open_engine, **options})


def planned(folder: Path, *overrides: str) -> dict[str, tuple[str, str]]:
    return DRY.planned(folder, *overrides, engine=open_engine)


def made(folder: Path, cfg: dromedary.Config) -> Model:
    with opened(folder) as run:
        return dromedary.recipe(run, cfg)


@pytest.fixture(scope="module")
def v1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dromedary") / "v1"
    made(folder, built(*V1))
    return folder


@pytest.fixture(scope="module")
def v2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dromedary") / "v2"
    made(folder, built(*BASE))
    return folder


def rows_of(folder: Path, step: str) -> list[Any]:
    return list(read_rows(steps(folder)[step][0]))


def record_of(folder: Path, step: str) -> StepRecord:
    return steps(folder)[step][1]


def test_nothing_changed_nothing_to_do(v1: Path, v2: Path) -> None:
    assert {state for state, _ in planned(v1, *V1).values()} == {"remembered"}
    assert {state for state, _ in planned(v2, *BASE).values()} == {"remembered"}


def test_a_plan_before_anything_walks_the_longest_path(tmp_path: Path, v1: Path) -> None:
    plan = planned(tmp_path / "none", *V1, "patience=1")
    assert {state for state, _ in plan.values()} == {"new"}
    assert set(plan) == {r.step for _, r in current_steps(v1)}


def test_stages_of_the_variants(v1: Path, v2: Path) -> None:
    one, two = ({r.step for _, r in current_steps(f)} for f in (v1, v2))
    assert {"prompts/synthesize", "prompts/topics", "prompts/questions"} <= one - two
    assert {"clone/respond", "clone/train", "clone/measure", "verbose-tax", "stop"} <= one - two
    assert two < one


@pytest.mark.parametrize("variant", ["v1", "v2"])
def test_training_sees_no_principle_exemplar_or_thought(
    variant: str, tiny_model: Path, request: pytest.FixtureRequest
) -> None:
    """On the text as it is rendered for training, of every stage that trains on own rows."""
    from woolgather.prompting.renderer import Renderer
    from woolgather.prompting.turns import messages_of

    folder = request.getfixturevalue(variant)
    principles = read_principles(builtin("principles", variant))  # type: ignore[arg-type]
    exemplars = read_exemplars(builtin("exemplars", variant), principles)  # type: ignore[arg-type]
    prompts = [str(r.instruction) for r in rows_of(folder, "prompts/pool")]
    source = CopiedText(
        [*(f"{p.name}: {p.text}" for p in principles), THOUGHT]
        + [t for e in exemplars for t in (e.question, e.thinking, e.answer)]
    )
    own = CopiedText(prompts)  # what the prompts themselves say is no leak
    renderer = Renderer(tiny_model)
    assert any(row.meta.get("thought") == THOUGHT for row in rows_of(folder, "engrave/align"))
    for step in ("engrave/mix", *(["clone/mix"] if variant == "v1" else [])):
        rows = [row for row in rows_of(folder, step) if row.set_aside is None]
        assert len(rows) > 20
        for row in rows:
            ids, _ = renderer.training_ids(messages_of(row), row.response)
            text = renderer.decode(ids)
            assert row.response in text
            assert not row.system
            assert source.share(text) <= own.share(text)
            for word in ("### ", "Principles:", "I am asked", "You answer thoroughly"):
                assert word not in text


def test_tags_stay_on_training_rows_and_how_often_is_shown(v2: Path) -> None:
    tagged = [r for r in rows_of(v2, "engrave/mix") if r.meta.get("principles")]
    assert tagged
    assert all(row.meta["principles"] == ["candor", "static"] for row in tagged)
    used = next(
        v for v in record_of(v2, "engrave/align").shown() if v.title == "Principles invoked"
    )
    assert used.data["rows"][0][:2] == ["candor", 24]


def test_identity_rows_are_an_option(v2: Path, tmp_path: Path) -> None:
    said = [r.response for r in rows_of(v2, "engrave/mix") if r.meta["origin"] == "identity"]
    assert len(said) == 12
    assert "My name is Woolly." in said
    assert "identity" not in planned(v2, *BASE, "name=''")
    assert "identity" not in planned(v2, *BASE, "identity.repeats=0")
    mine = tmp_path / "mine.jsonl"
    mine.write_text('{"instruction": "Who?", "response": "{{name}}, at your service."}\n')
    folder = tmp_path / "run"
    made(folder, built(*BASE, f"identity.file={mine}", "name=Ada", "controls=false"))
    assert [r.response for r in rows_of(folder, "identity")] == ["Ada, at your service."]


def test_adherence_of_base_teacher_and_students(v1: Path) -> None:
    values = record_of(v1, "adherence/judge").result["values"]
    assert set(values["adherence"]) == {"base", "prompted teacher", "engraved", "cloned"}
    assert all(e is not None for e in values["adherence"].values())
    assert values["judge"] == "yes_no"


def test_the_verbose_tax_stands_side_by_side(v1: Path) -> None:
    shown = record_of(v1, "verbose-tax").shown()[0].data
    assert shown["columns"] == ["measure", "engraved", "cloned", "difference"]
    models = next(v for v in record_of(v1, "summary").shown() if v.title == "Models").data["rows"]
    names = [str(row[0]).removesuffix(" ← result") for row in models]
    assert names == ["seeds alone", "base", "engraved", "cloned", "prompted teacher",
                     "few-shot base", "plain answers"]  # fmt: skip


def test_every_row_is_traced_to_what_was_given(v1: Path) -> None:
    parents: dict[str, tuple[str, ...]] = {}
    for entry, record in current_steps(v1):
        if record.kind == "dataset":
            for row in read_rows(v1 / str(entry["path"])):
                parents[row.id] = row.parents or parents.get(row.id, ())
    topics = {row.id for row in rows_of(v1, "prompts/topics")}
    for row in rows_of(v1, "clone/mix"):
        heads = {row.id}
        while any(parents.get(h) for h in heads):
            heads = {p for h in heads for p in (parents.get(h) or (h,))}
        assert all(h.startswith(("seed-", "identity-")) or h in topics for h in heads)


def test_without_prompts_the_seeds_are_asked_and_it_says_so(v2: Path, tmp_path: Path) -> None:
    said = [v.data["text"] for v in record_of(v2, "prompts/pool").shown() if v.kind == "alarm"]
    assert "instructions of the seeds" in said[0]
    file = tmp_path / "mine.jsonl"
    file.write_text(
        "".join(json.dumps({"prompt": f"Name number {i} of all."}) + "\n" for i in range(30))
        + json.dumps({"prompt": "word " * 300}) + "\n"
        + json.dumps({"prompt": "Name number 3 of all."}) + "\n"
    )  # fmt: skip
    folder = tmp_path / "run"
    made(folder, built(*BASE, f"prompts={file}", "controls=false"))
    record = record_of(folder, "prompts/pool")
    assert record.set_aside == {"too_long": 1, "repeated": 1, "over_limit": 6}
    assert not [v for v in record.shown() if v.kind == "alarm"]


ALIGN = {"engrave/align", "adherence/teacher"}
TEACHER = {"control/teacher-measure"}
TRAINED = {"engrave/train", "clone/train", "control/seeds-alone", "control/plain-answers"}
MEASURED = {
    "measure", "engrave/measure", "clone/measure", "control/teacher-measure",
    "control/fewshot-measure", "control/seeds-alone-measure", "control/plain-answers-measure",
}  # fmt: skip
ANSWERED = {"adherence/base", "adherence/engraved", "adherence/cloned", "control/plain"}
MIXES = {"engrave/mix", "clone/mix"}
CASES: list[tuple[str, set[str]]] = [
    ("tasks=13", {"prompts/synthesize"}),
    ("synthesis.items=9", {"prompts/synthesize"}),
    ("synthesis.sampling.top_p=0.9", {"prompts/synthesize"}),
    ("synthesis.demos.count=4", {"prompts/synthesize"}),
    ("synthesis.rules.use=[none]", {"prompts/synthesize"}),
    ("synthesis.novelty.threshold=0.6", {"prompts/synthesize"}),
    ("topics.rounds=3", {"prompts/topics"}),
    ("topics.calls=2", {"prompts/topics"}),
    ("topics.per_call=9", {"prompts/topics"}),
    ("topics.max_words=2", {"prompts/topics"}),
    ("topics.pool=growing", {"prompts/topics"}),
    ("topics.limit=3", {"prompts/topics"}),
    ("topics.format=raw", {"prompts/topics"}),
    ("topics.sampling.temperature=0.9", {"prompts/topics"}),
    ("topics.sampling.top_p=0.9", {"prompts/topics"}),
    ("topics.sampling.max_tokens=90", {"prompts/topics"}),
    ("questions.n=13", {"prompts/questions"}),
    ("questions.per_topic=1", {"prompts/questions"}),
    ("questions.rounds=1", {"prompts/questions"}),
    ("questions.format=raw", {"prompts/questions"}),
    ("questions.max_prompts=90", {"prompts/questions"}),
    ("questions.sampling.temperature=0.9", {"prompts/questions"}),
    ("questions.sampling.top_p=0.9", {"prompts/questions"}),
    ("questions.sampling.max_tokens=80", {"prompts/questions"}),
    ("questions.rules.use=[none]", {"prompts/questions"}),
    ("questions.novelty.threshold=0.6", {"prompts/questions"}),
    ("pool.limit=20", {"prompts/pool"}),
    ("pool.max_tokens=60", {"prompts/pool"}),
    ("pool.min_tokens=3", {"prompts/pool"}),
    ("align.exemplars=2", {*ALIGN, *TEACHER}),
    ("align.nudge=false", {*ALIGN, *TEACHER}),
    ("align.sampling.temperature=0.6", {*ALIGN, *ANSWERED, *TEACHER}),
    ("align.sampling.max_tokens=200", {*ALIGN, *ANSWERED, *TEACHER}),
    ("align.rules.max_leak=0.4", ALIGN),
    ("align.rules.max_copied=null", ALIGN),
    ("align.rules.unfinished=keep", ALIGN),
    ("align.rules.min_words=4", ALIGN),
    ("rules.use=[none]", {"engrave/rules"}),
    ("rules.min_chars=149", {"engrave/rules"}),
    ("name=Ada", {"identity", *ALIGN, *TEACHER}),
    ("identity.repeats=2", {"identity"}),
    ("identity.questions=20", {"identity"}),
    ("identity.rows=30", {"identity"}),
    ("identity.foreign=set_aside", {"identity"}),
    ("sft.learning_rate=1e-4", TRAINED),
    ("sft.lora.r=4", TRAINED),
    ("sft.lora.four_bit=true", TRAINED),
    ("sft.batch_size=4", TRAINED),
    ("sft.max_length=256",
     {*TRAINED, "engrave/mix", "control/seeds-mix", "control/plain-mix"} - {"clone/train"}),
    ("sft.max_rows=20", {*TRAINED, *MIXES, "control/seeds-mix", "control/plain-mix"}),
    ("sft.micro_batch_size=2", set()),
    ("lora_scale=0.5", {f"{step}-merge" for step in TRAINED}),
    ("measure.win_judge=fake-judge", {"summary"}),
    ("verbose.sampling.temperature=0.4", {"clone/respond"}),
    ("verbose.sampling.repetition_penalty=1.2", {"clone/respond"}),
    ("verbose.sampling.trigram_penalty=1", {"clone/respond"}),
    ("verbose.sampling.quadgram_penalty=2", {"clone/respond"}),
    ("verbose.rules.use=[none]", {"clone/rules"}),
    ("verbose.rules.min_chars=128", {"clone/rules"}),
    ("verbose.max_length=600", {"clone/mix", "clone/train"}),
    ("verbose.template=align-block", set()),
    ("judge.pairs=30", {"adherence/audition"}),
    ("judge.assessor=rubric", {"adherence/audition"}),
    ("judge.sampling.max_tokens=32", {"adherence/audition", "adherence/judge"}),
    ("adherence.sample=9", {"adherence/sample"}),
    ("measure.probes=33", MEASURED - {"control/teacher-measure"}),
    ("teacher.probes=33", {"control/teacher-measure"}),
    ("measure.max_tokens=24", MEASURED - {"control/teacher-measure"}),
    ("patience=1", {"stop"}),
    ("select_by=heldout", {"stop", "select", "summary"}),
    ("controls=false", {"summary"}),
    ("verbose.use=false", {"select", "summary", "adherence/judge"}),
]  # fmt: skip


@pytest.mark.parametrize(("override", "own"), CASES, ids=[case[0] for case in CASES])
def test_option_changes_its_steps_and_their_dependants_only(
    v1: Path, override: str, own: set[str]
) -> None:
    if override == "verbose.template=align-block":  # has fields that are not given there
        with pytest.raises(InputError, match="is not given here"):
            planned(v1, *V1, override)
        return
    DRY.holds(v1, override, own, BY_VALUE, V1)


@pytest.mark.parametrize("what", ["principles", "exemplars", "kinds"])
def test_an_edited_file_re_runs_what_reads_it(v1: Path, tmp_path: Path, what: str) -> None:
    ours = builtin(what, None if what == "kinds" else "v1")
    mine = tmp_path / ours.name
    mine.write_text(ours.read_text("utf-8"), "utf-8")
    assert {state for state, _ in planned(v1, *V1, f"{what}={mine}").values()} == {"remembered"}
    text = mine.read_text("utf-8")
    more = "- wit: Be witty where it fits.\n"
    mine.write_text(text.replace("Beethoven never", "Beethoven, alas, never") if what == "exemplars"
                    else text + more, "utf-8")  # fmt: skip
    plan = planned(v1, *V1, f"{what}={mine}")
    first = "prompts/topics" if what == "kinds" else "engrave/align"
    assert "args." in plan[first][1]
    assert plan["prompts/synthesize"][0] == plan["measure"][0] == "remembered"


def test_bad_files_are_refused_before_anything_runs(tmp_path: Path) -> None:
    bad = tmp_path / "bad.md"
    bad.write_text("- candor: One.\n- candor: Two.\n")
    with pytest.raises(
        InputError, match=r"bad\.md, line 2: the principle 'candor' stands in line 1"
    ):
        planned(tmp_path / "run", *BASE, f"principles={bad}")
    bad.write_text("- wit: Be witty.\n")
    with pytest.raises(InputError, match=r"exemplars-v2\.jsonl, line 1: unknown principle"):
        planned(tmp_path / "run", *BASE, f"principles={bad}")
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    for what in ("principles", "exemplars"):
        with pytest.raises(InputError, match=f"holds no {what}"):
            planned(tmp_path / "run", *BASE, f"{what}={empty}")
    with pytest.raises(InputError, match="holds no kinds of question"):
        planned(tmp_path / "run", *V1, f"kinds={empty}")
    with pytest.raises(ConfigError, match=r"align\.exemplars is 7"):
        planned(tmp_path / "run", *BASE, "align.exemplars=7")


def test_a_plain_fake_engine_ends_too(tmp_path: Path) -> None:
    """Hashed text has no labels; answers are then asked for by themselves."""
    from woolgather.engines import open_engine as plain

    with opened(tmp_path / "run", engine=plain) as run:
        model = dromedary.recipe(run, built(*V1, "controls=false"))
    assert json.loads((Path(model.path) / "fake.json").read_text())["kind"] == "merge"


def test_presets_say_what_the_papers_say() -> None:
    assert set(config.presets("dromedary")) == {"default", "demo", "paper", "paper-v2"}
    one, two = (built("base=fake", preset=p) for p in ("paper", "paper-v2"))
    assert (one.variant, two.variant) == ("v1", "v2")
    assert (one.sft.lora.r, two.sft.lora.r) == (16, 64)  # type: ignore[union-attr]
    assert (one.sft.learning_rate, two.sft.learning_rate) == (4e-4, 1e-4)
    assert (one.sft.batch_size, two.sft.batch_size) == (768, 128)
    assert (one.sft.max_length, one.verbose.max_length) == (512, 768)
    assert (one.align.sampling.temperature, two.align.sampling.temperature) == (0.5, 0.7)
    assert built("base=fake", preset="default").variant == "v2"


@pytest.mark.parametrize("preset", ["paper", "paper-v2"])
def test_paper_presets_run_on_the_fake_path(tmp_path: Path, preset: str) -> None:
    small = [*V1, "topics.calls=2"] if preset == "paper" else [*BASE]
    cfg = built(*small, "sft.batch_size=8", "judge.candidates=[yes_no]", "judge.probes=0",
                preset=preset)  # fmt: skip
    made(tmp_path / "run", cfg)
    steps = [record.step for _, record in current_steps(tmp_path / "run")]
    assert "engrave/train" in steps
    assert ("clone/train" in steps) == (preset == "paper")
    assert not any(step.startswith("control") for step in steps)
    last = json.dumps(record_of(tmp_path / "run", "select").result)
    assert "last" in last
