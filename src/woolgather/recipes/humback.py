"""Humback, instruction backtranslation (arXiv 2308.06259): texts that nobody wrote as answers get
instructions from a model trained backward, and the best of these pairs train the model forward.

Defaults are ours; preset `paper` is the paper's, with the unofficial implementation's numbers where
the paper gives none. Departures in both: prompts and system lines are in our own words (each a file
or a setting); one template trains and asks the backward model, and no system line of the forward
task is in it; the judged text stands between marks; a reply is read twice, leniently and strictly;
a verdict that cannot be read is never kept; a row's kind is a field. In `default` only: texts and
instructions are compared with everything there is, texts are cut and filtered by our own rules, the
assessor is chosen by audition, training is by adapter, random rows are trained on as a control, and
the result is the best candidate, the base included. docs/humback.md maps every parameter.
"""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import TypeVar

from pydantic import Field, field_validator, model_validator

from woolgather.core.artifacts import Choice, Metrics, Model
from woolgather.core.options import Options
from woolgather.core.rows import JSON, Example
from woolgather.data import builtin_texts
from woolgather.engines.base import Engine, Sampling
from woolgather.ops.curate.keep import KeepRule
from woolgather.ops.curate.mix import MixOptions
from woolgather.ops.curate.tag import tag
from woolgather.ops.curate.texts import TextOptions, prepare_texts
from woolgather.ops.generate.backtranslate import ORIGIN, Backward, backtranslate, reverse
from woolgather.ops.generate.respond import fixed_shots
from woolgather.ops.generate.rewrite import Rewriting, rewrite
from woolgather.ops.judge.assessors import Assessor, Candidate, Questionnaire
from woolgather.ops.judge.reread import read_again
from woolgather.ops.judge.rubrics import curation_rubric
from woolgather.ops.measure.embedding_map import MapOptions
from woolgather.ops.measure.select import best_of
from woolgather.recipes.candidates import Candidates
from woolgather.recipes.config import check_numbers
from woolgather.recipes.guard import guard_rows, open_guard
from woolgather.recipes.scope import Rows, Scope
from woolgather.recipes.settings import Common, Hiring
from woolgather.recipes.stages import (
    Beside,
    Tuning,
    best,
    choose_assessor,
    draw_rows,
    list_measured,
    map_embeddings,
    measure,
    mix_rows,
    open_inputs,
    open_judge,
    open_reference,
    open_replay,
    rate,
    settle_tier,
    train,
)
from woolgather.training.job import SftOptions

T = TypeVar("T")
METHOD = "instruction backtranslation (arXiv 2308.06259)"
SEEDED = "seeds alone (M_0)"


class Curation(Hiring):
    """Rating the pairs, by the model of the round before."""

    candidates: tuple[Candidate, ...] = ("rubric", "yes_no", "mutual_information", "channel")
    """Who may apply; the rubric gives its reasons first, so that expected has nothing to read."""
    sampling: Sampling = Sampling(temperature=0.7, top_p=0.9, max_tokens=512)
    template: str = "rubric-curation"
    """The five-level rubric: one of our templates, or the path of a .md file."""
    strict: bool = False
    """The score must be the very end of the reply, and the instruction within `window`; otherwise
    anywhere on the last line. Both readings are in the report."""
    window: tuple[int, int] = (10, 800)
    """strict: characters of an instruction."""

    @field_validator("assessor", "candidates")
    @classmethod
    def _reasons_first(cls, value: T) -> T:
        if value == "expected" or (isinstance(value, tuple) and "expected" in value):
            raise ValueError(
                "expected reads the score where the reply begins, and the five-level rubric begins "
                "with reasons. Use rubric, yes_no, mutual_information or channel"
            )
        return value

    def questionnaire(self) -> Questionnaire:
        """Returns what a curator is asked about a pair. Raises InputError for a template that cannot be
        read."""
        rubrics = (curation_rubric(self.template),)
        return Questionnaire(rubrics=rubrics, sampling=self.sampling)


class Tags(Options):
    """System lines by kind of row: one in training, both together afterwards."""

    use: bool = True
    """Whether system lines are trained and asked with."""
    seed: str = "Reply the way a helpful AI assistant would."
    """System line of the seeds, and of the first curator."""
    augmented: str = "Reply with what a search of the web would bring to light."
    """System line of the pairs made from texts."""

    def line(self, kind: str) -> str:
        """Returns the system line of "seed", "augmented" or "both" rows; empty when none are used."""
        lines = {"seed": self.seed, "augmented": self.augmented}
        text = "\n".join(lines.values()) if kind == "both" else lines[kind]
        return text if self.use else ""


class Config(Common):
    """Settings of instruction backtranslation."""

    texts: str | tuple[str, ...] = ""
    """A folder, a file or several (txt, md, jsonl, json, csv, parquet), or a data set of the hub,
    `owner/name[@revision]`, which is streamed; empty takes ours (60)."""
    text: TextOptions = TextOptions()
    backward: Backward = Backward()
    iterations: int = Field(default=2, ge=1)
    """Rounds of curation."""
    judge_model: str = "self"
    """self: the model of the round before rates; base: the base does; else the name of another model."""
    judge: Curation = Curation()
    keep: KeepRule = KeepRule(by="auto", at_least=5)
    rewrite: bool = False
    """The model of the round before rewrites what was kept as an answer to its instruction."""
    rewriting: Rewriting = Rewriting()
    tags: Tags = Tags()
    mix: MixOptions = MixOptions()
    sft: SftOptions = SftOptions()
    seed_updates: int | None = Field(default=None, ge=1)
    """Updates of the backward model and of M_0; None: `sft.epochs` over the seeds."""
    updates: int | tuple[int, ...] | None = None
    """Updates of each round's model; None: `sft.epochs`. Of a list each is trained and measured,
    and the best on `select_by` goes on."""
    embedding_map: MapOptions = MapOptions()

    @model_validator(mode="after")
    def _check_updates(self) -> Config:
        if self.updates is not None:
            check_numbers("updates", self.updates, 1)
        return self

    @property
    def once(self) -> SftOptions:
        """Returns the training on the seeds alone."""
        return with_updates(self.sft, self.seed_updates)

    @property
    def rounds(self) -> list[SftOptions]:
        """Returns the training of each model that a round makes."""
        counts = self.updates if isinstance(self.updates, tuple) else (self.updates,)
        return [with_updates(self.sft, n) for n in counts]


def with_updates(config: SftOptions, updates: int | None) -> SftOptions:
    """Returns the same training with this many updates; None leaves it."""
    return config if updates is None else config.model_copy(update={"max_updates": updates})


def recipe(run: Scope, cfg: Config) -> Model:
    """Returns the result of the method; see the module's docstring. `run` is a Run or a Scope."""
    seeds, held_out, base = open_inputs(run, cfg)
    reference = open_reference(run, cfg.embedding_map)
    cfg = settle_tier(run, cfg, seeds, base)
    text = cfg.text
    source = run.texts(
        cfg.texts or builtin_texts(), column=text.column, split=text.split, subset=text.subset
    )
    backward, forward = run.scope("backward"), run.scope("forward")
    how = cfg.backward

    turned = backward.step(
        "reverse", reverse, seeds, template=how.template, min_pairs=how.min_pairs
    )
    rows = mix_rows(backward, [], Beside(turned), base, cfg.sft)
    writer = train(backward, "train", base, rows, Tuning(cfg.once))
    beside = tag_given(run, seeds, cfg)
    rows = mix_rows(forward, [], beside.alone, base, cfg.sft)
    first = train(forward, "train", base, rows, Tuning(cfg.once, system=cfg.tags.line("seed")))
    asked = list_measured(run, cfg, held_out)
    guard = open_guard(run, cfg, asked)
    found = Candidates(run, cfg, base, held_out, guard)
    seeded = measure(forward, "measure", first, found.held_out, cfg.measure)
    found.add_control(forward, SEEDED, first)

    texts = run.step(
        "texts", prepare_texts, source, options=text, seeds=seeds, avoid=[held_out, seeds]
    )
    augmented = run.step(
        "backtranslate",
        backtranslate,
        texts,
        run.engine(writer),
        how=how,
        seeds=seeds,
        avoid=[seeds],
        measured=asked,
    )
    judge = open_judge(run, cfg.judge_model, base)
    rated, kept, configs = list[Sized](), list[Rows[Example]](), list[SftOptions]()
    for t in range(cfg.iterations):
        it, own = run.scope(f"iter{t}"), found.last if t else first
        rater = it.engine(judge or own)
        if not (judge and t):  # who stays the same passes one audition
            assessor = choose_assessor(it, seeds, rater, cfg.judge, cfg.judge.questionnaire())
        scored, good = curate_pairs(it, augmented, rater, assessor, cfg)
        if cfg.rewrite:
            good = it.step("rewrite", rewrite, good, it.engine(own), how=cfg.rewriting)
        rated.append(() if it.given("keep") else scored)  # rows that are given are a share of none
        kept.append(good)
        rows = guard_rows(it, join_with_seeds(it, "", good, beside, base, cfg), guard)
        model, measured, config = train_round(it, base, rows, found.held_out, cfg)
        configs.append(config)
        found.add(it, model, measured)
        if found.stop(it):
            break

    chosen = found.choose()
    maps = map_embeddings(run, kept, seeds, base, reference, cfg.embedding_map)
    controls = {SEEDED: seeded}
    if cfg.controls:
        last, scope = (int(chosen.value) or len(kept)) - 1, run.scope("control")
        chance = join_with_seeds(
            scope, "random-", draw_rows(scope, "random", augmented, kept[last]), beside, base, cfg
        )
        shots = scope.step("shots", fixed_shots, seeds)
        alike = Tuning(configs[last], system=cfg.tags.line("both"))
        controls |= found.controls(scope, {"random rows": chance}, alike, shots)
    facts: dict[str, JSON] = {"method": METHOD, "seeds": len(seeds), "iterations": len(kept)}
    if not run.given("backtranslate"):
        facts["texts"] = len(texts)
    return found.hand_over(
        chosen,
        controls,
        facts=facts,
        seeds=seeds,
        raters=[judge] if judge else [first, *found.models[1:-1]],
        rounds=list(zip(rated, kept, maps, strict=True)),
    )


def curate_pairs(
    it: Scope, augmented: Rows[Example], rater: Engine, assessor: Assessor | Choice, cfg: Config
) -> tuple[Rows[Example], Rows[Example]]:
    """Returns the pairs as the curator behind `rater` rated them, and those it finds good."""
    asked = cfg.judge.questionnaire()
    rated = rate(it, augmented, rater, assessor, cfg.judge, asked)
    (rubric,) = asked.rubrics
    strict, window = cfg.judge.strict, cfg.judge.window
    scored = it.step("read", read_again, rated, rubric=rubric, strict=strict, window=window)
    return rated, best(it, scored, cfg.keep, assessor, rater)


def tag_given(run: Scope, seeds: Rows[Example], cfg: Config) -> Beside:
    """Returns the seeds and the replayed rows with the system line of the seeds: people wrote both."""
    forward, line = run.scope("forward"), cfg.tags.line("seed")
    tagged = forward.step("tag", tag, seeds, origin="seed", line=line)
    replay: Rows[Example] | Sequence[Example] = ()
    if cfg.mix.replay:
        rows = open_replay(run, cfg.mix)
        replay = forward.step("replay-tag", tag, rows, origin="replay", line=line)
    return Beside(tagged, replay, cfg.mix)


def join_with_seeds(
    scope: Scope, name: str, kept: Rows[Example], beside: Beside, base: Model, cfg: Config
) -> Rows[Example]:
    """Returns kept pairs, seeds and replayed rows, each kind with its system line."""
    lined = scope.step(f"{name}tag", tag, kept, origin=ORIGIN, line=cfg.tags.line("augmented"))
    return mix_rows(scope, [lined], beside, base, cfg.sft, name=f"{name}mix")


def train_round(
    it: Scope, base: Model, rows: Rows[Example], held_out: Rows[Example], cfg: Config
) -> tuple[Model, Metrics, SftOptions]:
    """Returns this round's model, its measure, and the training it had; of several, the best."""
    models, found, lines = [], [], cfg.tags.line("both")
    for config in cfg.rounds:
        name = f"-{config.max_updates}" if len(cfg.rounds) > 1 else ""
        models.append(train(it, f"train{name}", base, rows, Tuning(config, system=lines)))
        found.append(measure(it, f"measure{name}", models[-1], held_out, cfg.measure))
    winner = 0
    if len(found) > 1:
        winner = int(it.step("updates", best_of, found, by=cfg.select_by).value)
    return models[winner], found[winner], cfg.rounds[winner].like(len(rows))
