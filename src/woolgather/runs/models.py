"""The models of a run: which it trains itself, which exist beforehand, and where each is asked.

The one idea: a server holds models that existed when it was started. It can be asked for those that a
run is given, each under its own name, and for one that the run makes only where the server takes it up
while it runs: as an adapter of a model that it holds, or as a directory that it lists or that --serve
names by the step. What an older version asked it all the same is not trusted (see earlier/doubts.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError
from woolgather.engines.base import EngineOptions
from woolgather.engines.openai.adapters import find_at_servers, loads_adapters
from woolgather.engines.openai.serving import Asked, Endpoint, ask_at, assign, read_options
from woolgather.models.open import open_model, open_served
from woolgather.runs.call import Call, artifacts_in, engines_in
from woolgather.runs.earlier.doubts import SALT, Past, engine_of
from woolgather.runs.record import StepRecord
from woolgather.training.job import TrainingOptions


@dataclass(frozen=True)
class _Adapter:
    """What a made model is, where it is an adapter or the merge of one."""

    start: Model
    """From outside, which a server may hold."""
    merged: Model | None = None
    """The adapter that was merged; None where the model is it."""


class RunModels:
    """What is known so far of the models of a run, each by its fingerprint.

    Raises ConfigError for servers that are named wrongly."""

    def __init__(self, options: EngineOptions) -> None:
        self.past = Past()
        """What earlier launches in the run's directory left open; set when the run is opened."""
        self._options = options
        self._serving = read_options(options.name, options.urls, options.serve)
        self._made: dict[str, str] = {}
        """The step that makes the model."""
        self._adapters: dict[str, _Adapter] = {}
        self._load: dict[Endpoint, bool] = {}
        """Whether a server loads adapters, once it was asked."""
        self._outside: dict[str, Asked] = {}
        self._asked: dict[str, bool] = {}
        """Models from outside that steps ask, and whether there is anything left to ask them."""
        self._served: dict[str, str] = {}
        """The model that an option was for which named a server."""
        self.base: Model | None = None
        """The first model from outside, which a run tunes."""

    # -- whence they are ------------------------------------------------------------------------

    def make(self, call: Call) -> None:
        """Note that a model which comes of `call` is made by the run."""
        if call.kind == "model":
            self._made[call.identity] = call.name
            if (found := self._read_adapter(call)) is not None:
                self._adapters[call.identity] = found

    def open(self, role: str, source: str | Model) -> Model:
        """Returns a model from outside. The first one is trained from and has to be here; of another one
        that --serve takes to a server only its name is needed. Raises InputError for one that cannot be
        opened."""
        if self.base is not None and isinstance(source, str):
            named = Asked(roles=(role,), sources=(source,))
            if self._serving.find_endpoints(named):
                return open_served(source, role=role)
        return open_model(source, role=role)

    def bring(self, role: str, source: str | Model, model: Model, chat_template: str = "") -> Model:
        """Note that `model` is from outside: its `role` in the recipe, and how `source` spells it.
        A model that the run made and hands on stays the run's own. Returns the model as this run asks
        it, with its chat template and that one's variables."""
        maker = self._made.get(model.fingerprint)
        model = model.with_template(chat_template)
        if not isinstance(source, Model):
            model = model.with_variables(self._options.chat_template_kwargs)
        if maker is not None:
            self._made[model.fingerprint] = maker
            return model
        self.base = self.base or model
        known = self._outside.get(model.fingerprint, Asked(path=model.path))
        sources = (*known.sources, *([source] if isinstance(source, str) else []))
        self._outside[model.fingerprint] = replace(
            known, roles=(*known.roles, role), sources=sources
        )
        return model

    def makes(self, model: Model) -> bool:
        """Returns whether a step of the run makes `model`."""
        return model.fingerprint in self._made

    def name_of(self, model: Model) -> str:
        """Returns the step that makes `model`, or else its role or path."""
        return self._made.get(model.fingerprint) or self._describe(model).key

    # -- who is asked ---------------------------------------------------------------------------

    def ask(self, call: Call, *, anew: bool) -> None:
        """Note whom a step asks (`anew`), or asked. Raises ConfigError when a server would have to
        be asked for a model that the run makes."""
        for handle in engines_in(call.bound):
            print_ = handle.model.fingerprint
            if print_ not in self._made:
                self._outside.setdefault(print_, self._describe(handle.model))
                self._asked[print_] = self._asked.get(print_, False) or anew
            elif anew and self._options.name == "openai" and not self._can_serve(handle.model):
                raise ConfigError(
                    f"--engine openai: {call.name} asks the model that {self._made[print_]} makes in "
                    "this run, and a server holds only models that existed when it was started, so "
                    "use --engine transformers, which asks every model of a run."
                )

    def check(self) -> None:
        """Raises ConfigError for a --serve that means no model, or several, and with --engine openai for
        a model without a server that there is something left to ask. Every step must be known by then,
        as after a plan."""
        models = [replace(self._outside[p], due=due) for p, due in self._asked.items()]
        named = map(self._describe_made, self._made)
        models += [made for made in named if self._serving.find_endpoints(made)]
        assign(self._serving, models)

    def at_servers(self, model: Model, options: EngineOptions) -> EngineOptions:
        """Returns the options to open the engine of `model` with: at its servers where it has any. Raises
        ConfigError when an option that names them was for another model before, and CapabilityError for
        an adapter that would be served in part."""
        if self.makes(model):
            return self._find_made(model, options) or ask_at((), options)
        asked = self._describe(model)
        keys = [key for key, _ in self._serving.serve if asked.matches(key)]
        named = [f"--serve {key}=..." for key in keys]
        for option in named or ["--url"] * (options.name == "openai"):
            other = self._served.setdefault(option, model.fingerprint)
            if other != model.fingerprint:
                raise ConfigError(
                    f"{option} is for one model, and {self._outside[other]} and {asked} are asked. "
                    f"Say where each is: --serve {self._outside[other].key}=URL#NAME "
                    f"--serve {asked.key}=URL#NAME."
                )
        return ask_at(self._serving.find_endpoints(asked) or self._serving.urls, options)

    def _can_serve(self, model: Model) -> bool:
        """Whether servers will answer for a model that the run makes, or has made."""
        if model.digest:  # it is there
            return self._find_made(model, self._options) is not None
        if self._serving.find_endpoints(self._describe_made(model.fingerprint)):
            return True
        known = self._adapters.get(model.fingerprint)
        return known is not None and self._all_load(self._endpoints_of(known.start))

    def _find_made(self, model: Model, options: EngineOptions) -> EngineOptions | None:
        """The options to ask servers for a made model, None where they do not have it."""
        named = self._serving.find_endpoints(self._describe_made(model.fingerprint))
        if named:
            return ask_at(named, options)
        if options.name != "openai":
            return None
        known = self._adapters.get(model.fingerprint)
        start = known.start if known else self.base
        endpoints = self._endpoints_of(start) if start else ()
        adapter = ""
        if known and self._all_load(endpoints):
            adapter = (known.merged or model).path
        return find_at_servers(model.path, adapter, endpoints, options)

    def _endpoints_of(self, model: Model) -> tuple[Endpoint, ...]:
        return self._serving.find_endpoints(self._describe(model)) or self._serving.urls

    def _all_load(self, endpoints: tuple[Endpoint, ...]) -> bool:
        for endpoint in endpoints:
            if endpoint not in self._load:
                self._load[endpoint] = loads_adapters(endpoint, self._options)
        return bool(endpoints) and all(self._load[endpoint] for endpoint in endpoints)

    def _read_adapter(self, call: Call) -> _Adapter | None:
        """What a call makes, where that is an adapter of a model from outside, or all of one merged."""
        bound, start = call.bound, call.bound.get("start")
        training = next((v for v in bound.values() if isinstance(v, TrainingOptions)), None)
        if training is not None:
            if not training.lora or not isinstance(start, Model) or self.makes(start):
                return None
            return _Adapter(start)
        models = [found for found in artifacts_in(bound) if isinstance(found, Model)]
        if len(models) != 1 or bound.get("scale", 1.0) != 1.0:
            return None
        known = self._adapters.get(models[0].fingerprint)
        return replace(known, merged=known.merged or models[0]) if known else None

    def _describe_made(self, print_: str) -> Asked:
        return Asked(roles=(self._made[print_],))

    # -- what was asked before ------------------------------------------------------------------

    def doubt(self, call: Call, record: StepRecord) -> str:
        """Returns why the record of a step is not trusted; empty where it is."""
        engine = engine_of(record)
        by_server = engine.get("name") == "openai"
        took = record.launch in self.past.unsure and record.calls.get("remembered", 0) > 0
        for handle in engines_in(call.bound):
            name = self.name_of(handle.model)
            if by_server and "served" not in engine and handle.model.fingerprint in self._made:
                return f"new because a server answered for {name}, which it could not have held"
            if by_server and "served" not in engine and self._doubtful(handle.model):
                return (
                    f"new because it is not on record which model on a server answered for {name}"
                )
            if self.past.doubted and took and self._doubtful(handle.model):
                return f"new because remembered answers of {name} may be those of another model"
        return ""

    def salt(self, model: Model) -> str:
        """Returns what keeps older answers of `model` out of use; empty where they are sound."""
        return SALT if self.past.doubted and self._doubtful(model) else ""

    def _doubtful(self, model: Model) -> bool:
        """Whether a server that held the base may have been asked for `model`."""
        roles = (role.rpartition("/")[2] for role in self._describe(model).roles)
        return model.fingerprint in self._made or "base" not in roles

    def _describe(self, model: Model) -> Asked:
        return self._outside.get(model.fingerprint) or Asked(path=model.path)
