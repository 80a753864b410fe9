"""Whether a model answers the same from two programs: the one that trains, and vLLM or a server.

The one idea: the dtype and the kernels make a gap of their own, which the base shows as well; what a
tuned model has beyond it comes of how it was handed over. Prompts are compared exactly, since they are
made by the same rules in two environments. Each model is looked at once, before anybody relies on what
it answers, and what was found is kept in the run. The engine transformers needs none of this: it loads a
model as the trainer does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError, EngineError
from woolgather.core.rows import JSON
from woolgather.core.storage import write_json
from woolgather.engines.base import Engine, EngineOptions, LogProb, Tokens
from woolgather.engines.openai.serving import read_endpoint, redact_address
from woolgather.prompting.messages import Message, Prompt

FILE = "hand-off.json"
ALLOWED = 0.02
"""Nats per token beyond the base's own gap."""
_ASKED = (
    ("What is the largest planet?", "Jupiter is the largest planet."),
    ("Name three fruits.", "Apples, pears and cherries."),
    ("Write a sentence about rain.", "The rain fell softly on the old tin roof."),
    ("What is 7 + 5?", "7 + 5 is 12."),
    ("Translate 'good morning' into French.", "Bonjour."),
    ("Why do leaves fall in autumn?", "Trees drop their leaves to save water in the cold months."),
    ("Give me a synonym for 'quick'.", "Fast."),
    ("Which ocean is the deepest?", "The Pacific Ocean is the deepest."),
    ("Write a short greeting for a colleague.", "Good morning, Ada! I hope you slept well."),
    ("How many days has a week?", "A week has seven days."),
    ("List two uses of a bucket.", "1. Carrying water\n2. Storing toys"),
    ("What colour is a ripe tomato?", "A ripe tomato is red."),
    ("Explain what a map is for.", "A map shows where places are, so that you can find your way."),
    ("Finish the line: roses are red,", "violets are blue."),
    ("What do bees make?", "Bees make honey and wax."),
    ("Say it politely: give me the salt.", "Could you pass me the salt, please?"),
)
_VERSIONS = (
    "Suspect the versions of transformers and tokenizers in the two: install the same ones into the "
    "environment of --engine-python, or use --engine transformers."
)
_PROGRAMS = {"vllm": "vLLM", "openai": "the server"}
_SUSPECTS = {
    "vllm": "suspect what vLLM makes of this model's weights (a layer that it does not read, a "
    "quantization in --engine-args), then the precision (--dtype float32)",
    "openai": "suspect what the server has under this name, then its precision (--dtype float32) and its "
    "quantization",
}
PROMPTS: Sequence[Prompt] = tuple((Message("user", question),) for question, _ in _ASKED)
REPLIES = tuple(reply for _, reply in _ASKED)


@dataclass(frozen=True)
class Reading:
    """What one program makes of the prompts, and of their replies."""

    tokens: Tokens
    logprobs: list[LogProb]


def read(engine: Engine) -> Reading:
    """Returns what this program makes of the model. Raises what the engine raises."""
    return Reading(engine.read_tokens(PROMPTS), engine.sequence_logprobs(PROMPTS, REPLIES))


def find_gap(trained: Reading, served: Reading, name: str) -> float:
    """Returns the mean over the replies of the difference of their log-probability, in nats per token.

    Raises EngineError, in which the model is called `name`, when the two programs differ in the tokens of
    a prompt, in the template or in the end tokens.
    """
    ours, theirs = trained.tokens, served.tokens
    sides = "the environment that vLLM is in and our own"
    if ours.template != theirs.template:
        raise EngineError(f"{name}: {sides} read two chat templates from its folder. {_VERSIONS}")
    if ours.end_ids != theirs.end_ids:
        raise EngineError(
            f"{name}: it ends at the tokens {theirs.end_ids} in one of {sides}, and at {ours.end_ids} in "
            f"the other. {_VERSIONS}"
        )
    for (question, _), mine, other in zip(_ASKED, ours.prompts, theirs.prompts, strict=True):
        if mine != other:
            raise EngineError(f"{name}: {sides} make other tokens of {question!r}. {_VERSIONS}")
    gaps = [
        abs(a.total - b.total) / max(1, a.tokens)
        for a, b in zip(trained.logprobs, served.logprobs, strict=True)
    ]
    return sum(gaps) / len(gaps)


def check_gap(gap: float, base_gap: float, name: str, engine: str = "vllm") -> None:
    """Raises EngineError when a tuned model's gap is beyond what its base's allows, or is no number;
    `engine` is the one that has the model."""
    if gap <= base_gap + ALLOWED:
        return
    raise EngineError(
        f"{name}: from {_PROGRAMS[engine]} its answers differ by {gap:.3f} nats per token from those of "
        f"the program that trained it, the base's by {base_gap:.3f}; {base_gap + ALLOWED:.3f} is "
        f"allowed. The tokens are the same, so {_SUSPECTS[engine]}. --engine transformers asks the model "
        "as it was trained."
    )


@dataclass
class HandOff:
    """The check of the run in `folder`. `open_engine` opens an engine of ours; it is closed again before
    another one has its model in memory."""

    folder: Path
    open_engine: Callable[[Model, EngineOptions], Engine]
    tell: Callable[[str], None]
    base: Model | None = None
    """The model that a run's own are measured by."""
    base_options: EngineOptions | None = None
    """How the base is asked, where that is not as the models that are measured by it."""

    def is_due(self, engine: Engine, options: EngineOptions, *, made: bool) -> bool:
        """Returns whether this model, asked so, is to be compared: the base, or one that the run has
        `made`, that is not on record."""
        if not (made or self._is_base(engine.model)):
            return False
        found = self._read_file().get(engine.model.fingerprint, {})
        return found.get("how") != _how(engine, options)

    def check(self, engine: Engine, options: EngineOptions, name: str, *, made: bool) -> None:
        """Compares the model of `engine`, vLLM's or a server's, in both programs where that is due.

        Raises EngineError where the two make other tokens, and for a made model whose gap is beyond what
        its base allows; CapabilityError where a server does not tell what is compared.
        """
        print_, how = engine.model.fingerprint, _how(engine, options)
        if not self.is_due(engine, options, made=made):
            return
        base_gap = self._find_base_gap(options) if made else 0.0
        try:
            gap = self._measure(engine, options, name)
        except ConfigError as error:
            if made:
                raise
            self.tell(f"{name}: not compared with what trains: {error}")
            return
        if made:
            check_gap(gap, base_gap, name, options.name)
        bound: dict[str, JSON] = {"allowed": base_gap + ALLOWED} if made else {}
        entry = {"model": name, "gap": gap, **bound, "how": how}
        write_json(self.folder / FILE, {**self._read_file(), print_: entry})
        within = f", {base_gap + ALLOWED:.4f} are allowed" if made else ""
        program = "the server" if options.name == "openai" else options.name
        self.tell(f"{name}: {program} is {gap:.4f} nats per token from transformers{within}")

    def _is_base(self, model: Model) -> bool:
        return self.base is not None and model.fingerprint == self.base.fingerprint

    def _find_base_gap(self, options: EngineOptions) -> float:
        """The base's own gap, measured now where it is not on record; 0 where there is none to be had."""
        if self.base is None:
            return 0.0
        options = self.base_options or options
        with closing(self.open_engine(self.base, options)) as engine:
            self.check(engine, options, "base", made=False)
        return float(self._read_file().get(self.base.fingerprint, {}).get("gap", 0.0))

    def _measure(self, engine: Engine, options: EngineOptions, name: str) -> float:
        """vLLM starts with the second reading, when the first program's model is gone. A server is there
        already, and what it does not tell ends the matter at once."""
        served = read(engine) if options.name == "openai" else None
        trains = EngineOptions(
            device=options.device,
            dtype=options.dtype,
            batch_tokens=options.batch_tokens,
            date=options.date,
            trust_remote_code=options.trust_remote_code,
        )
        # A server adds the adapter as it answers; merged weights are rounded as they are stored.
        asked = replace(engine.model, path=options.adapter) if options.adapter else engine.model
        with closing(self.open_engine(asked, trains)) as ours:
            reading = read(ours)
        return find_gap(reading, served or read(engine), name)

    def _read_file(self) -> dict[str, dict[str, JSON]]:
        """By the model's fingerprint, what is on record."""
        path = self.folder / FILE
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return dict(found)


def _how(engine: Engine, options: EngineOptions) -> dict[str, JSON]:
    """What a gap depends on beside the model. Of a server that is its address; a name there may be a
    hash of the model's own."""
    programs: list[JSON] = [*getattr(engine, "served", ())]
    if options.name == "openai":
        programs = [redact_address(read_endpoint(url).url) for url in options.urls]
    return {"programs": programs, "dtype": options.dtype, "args": dict(options.args)}
