"""Which server holds which model: what --url and --serve say, read and resolved.

The one idea: a server holds the models that existed when it was started, under names of its own. A
model is therefore asked at *endpoints*, each a server and the model's name there, which are found by
what a user calls the model: its role in the recipe, its path or its name. One endpoint that stood for
two models would answer for the wrong one without a word, so that is an error here.

    --url URL[#NAME]                 the only model that is asked; repeat it for several servers of it
    --serve ROLE_OR_PATH=URL[#NAME]  one model of several; repeat it for each, and for each server

With --engine openai every model is at a server. With another engine those that --serve names are, and
that engine asks the others.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from woolgather.core.errors import ConfigError
from woolgather.engines.base import EngineOptions

_REQUEST_PATH = re.compile(r"/(chat/completions|completions|embeddings|models)$")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model on a server."""

    url: str
    """The address that paths are appended to, e.g. http://localhost:8000/v1."""
    name: str = ""
    """The model's name on that server; empty where the server is asked for the only one it has."""

    @property
    def text(self) -> str:
        """Returns it as `read_endpoint` reads it, secrets included."""
        return f"{self.url}#{self.name}" if self.name else self.url

    def __str__(self) -> str:
        """Returns the same without user, password and query, which may be secrets."""
        return Endpoint(redact_address(self.url), self.name).text


@dataclass(frozen=True)
class Serving:
    """What --url and --serve say."""

    urls: tuple[Endpoint, ...] = ()
    serve: tuple[tuple[str, Endpoint], ...] = ()
    """Pairs of a role, path or name, and an endpoint of the model that is called so."""
    engine: str = "openai"
    """What asks the models that no server is named for; openai asks none without a server."""

    def find_endpoints(self, model: Asked) -> tuple[Endpoint, ...]:
        """Returns the endpoints that --serve gives to `model`; none where it names no such model."""
        return tuple(endpoint for key, endpoint in self.serve if model.matches(key))


@dataclass(frozen=True)
class Asked:
    """A model that is asked, and what a user may call it."""

    roles: tuple[str, ...] = ()
    """What it is to the recipe, scopes included: "base", "second/judge_model"."""
    sources: tuple[str, ...] = ()
    """How the settings or the command spell it: a folder, a name."""
    path: str = ""
    """Its directory; empty for a model that only its server has."""
    due: bool = True
    """Whether there is anything left to ask it."""

    def matches(self, key: str) -> bool:
        """Returns whether a user means this model by `key`: a role with or without its scopes, the
        name in the settings, or another spelling of the same directory."""
        if key in self.sources or any(key in (r, r.rpartition("/")[2]) for r in self.roles):
            return True
        place = Path(os.path.expanduser(key))
        return bool(self.path) and place.resolve() == Path(self.path).resolve()

    @property
    def key(self) -> str:
        """Returns the shortest thing to call it by."""
        return (*self.roles, *self.sources, self.path)[0]

    def __str__(self) -> str:
        named = self.roles and self.sources and self.sources[0] != self.key
        return f"{self.key} ({self.sources[0]})" if named else self.key


def read_options(engine: str, urls: Sequence[str], serve: Sequence[str]) -> Serving:
    """Returns what the options --url and --serve of a command with `engine` say.

    Raises ConfigError for one that is malformed, and for --url with an engine that is none of servers.
    """
    if engine != "openai" and urls:
        raise ConfigError(
            f"--url names the server of all that is asked, and --engine {engine} asks none. Add "
            "--engine openai, or say which model is there: --serve ROLE_OR_PATH=URL#NAME."
        )
    pairs = []
    for text in serve:
        # A path may hold a "=", and so may an address.
        found = re.fullmatch(r"(.+?)=(https?://.*)", text) or re.fullmatch(r"([^=]+)=(.+)", text)
        if found is None or text.startswith(("http://", "https://")):
            raise ConfigError(
                f"--serve {redact_address(text)}: write ROLE_OR_PATH=URL#NAME, e.g. "
                "--serve base=http://localhost:8000#my-model."
            )
        pairs.append((found[1], read_endpoint(found[2])))
    return Serving(tuple(map(read_endpoint, urls)), tuple(pairs), engine)


def ask_at(endpoints: Sequence[Endpoint], options: EngineOptions) -> EngineOptions:
    """Returns the options to open the engine of one model with: of servers where it has `endpoints`, else
    of the engine that `options` name."""
    urls = tuple(endpoint.text for endpoint in endpoints)
    if not urls or options.name == "openai":
        return replace(options, urls=urls, serve=())
    return replace(
        options, name="openai", urls=urls, serve=(), python="", args={}, replicas=0, ray=""
    )


def read_endpoint(text: str) -> Endpoint:
    """Returns the endpoint that `URL` or `URL#NAME` means; `/v1` is added where only a host is given, and
    the path of a request, which is often pasted with the address, is taken off.

    Raises ConfigError when it is not an address of http or https, or has nothing behind the #.
    """
    url, sign, name = text.partition("#")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"engine openai: {redact_address(url)!r} is not an address. "
            "One looks like http://localhost:8000/v1."
        )
    if sign and not name.strip():
        raise ConfigError(
            f"engine openai: {redact_address(url)}# has no name behind the #. Write URL#NAME, or the "
            "URL alone where the server has one model."
        )
    path = _REQUEST_PATH.sub("", parts.path.rstrip("/")) or "/v1"
    base = urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))
    return Endpoint(base, name.strip())


def redact_address(url: str) -> str:
    """Returns an address without user, password and query, which may be secrets."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def assign(serving: Serving, models: Sequence[Asked]) -> list[tuple[Endpoint, ...]]:
    """Returns the endpoints of each of `models`, which are different models; none where none is needed,
    or another engine asks it.

    Raises ConfigError, with the option to add, for a --serve that means none of them or several, for
    a model that has no server, and for a --url that would have to answer for several.
    """
    for key, _ in serving.serve:
        found = [model for model in models if model.matches(key)]
        if len(found) > 1:
            raise ConfigError(
                f"--serve {key}=...: {_join_names(found)} are called so, and are different models. Give "
                "the path of the one that is meant, or its name in full."
            )
        if not found:
            raise ConfigError(
                f"--serve {key}=...: no model that is asked is called {key}. "
                + (f"Those that are asked: {_join_names(models)}." if models else "None is asked.")
            )
    rest = [model for model in models if not serving.find_endpoints(model)]
    if serving.urls and models and not rest:
        raise ConfigError(
            f"--url {serving.urls[0]}: every model that is asked has a --serve of its own. Leave "
            "--url out."
        )
    if serving.engine == "openai" and any(model.due for model in rest):
        if not serving.urls:
            how = "--url URL, or " if len(models) == 1 else ""
            raise ConfigError(
                f"--engine openai: no server is named for {_join_names(rest)}. Add {how}{_missing(rest)}."
            )
        if len(rest) > 1 and any(model.path for model in rest):
            url = str(Endpoint(serving.urls[0].url))
            raise ConfigError(
                f"--url is for one model, and {_join_names(rest)} are asked. Say where each is: "
                f"{_missing(rest, url)}."
            )
    return [serving.find_endpoints(model) or _at_urls(serving, model) for model in models]


def _at_urls(serving: Serving, model: Asked) -> tuple[Endpoint, ...]:
    """Returns where --url says; a model that only a server has is asked by its own name there."""
    if model.path:
        return serving.urls
    for endpoint in serving.urls:
        if endpoint.name not in ("", model.key):
            raise ConfigError(
                f"--url {endpoint} names {endpoint.name}, and {model} is asked. Leave "
                f"#{endpoint.name} out, or write --serve {model.key}={endpoint}."
            )
    return tuple(Endpoint(endpoint.url, model.key) for endpoint in serving.urls)


def _join_names(models: Sequence[Asked]) -> str:
    """Returns them as `a, b and c`."""
    *most, last = map(str, models)
    return f"{', '.join(most)} and {last}" if most else last


def _missing(models: Sequence[Asked], url: str = "URL") -> str:
    return " ".join(f"--serve {model.key}={url}#NAME" for model in models)
