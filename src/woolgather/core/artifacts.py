"""Fingerprinted references to things on disk: what steps pass to each other.

An artifact's fingerprint is its step's (or, for a thing from outside, that of its content), so it is
known before the thing exists. An op returns one with an empty fingerprint and the run fills it in.
Iterating a Dataset gives the rows that are not set aside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from woolgather.core.fingerprint import canonical, fingerprint
from woolgather.core.rows import JSON, Row
from woolgather.core.views import View

PromptFormat = Literal["raw", "chat"]
TemplateVariables = Mapping[str, bool | int | float | str]
"""Variables of a chat template beside the conversation, e.g. {"enable_thinking": False}."""


@dataclass(frozen=True)
class Dataset:
    """The rows of a step, or from outside: Parquet shards in a directory.

    Iterating yields the rows in use, `rows()` those set aside, too; the length is the number of rows in
    use. In a plan the length is the expected one, and there is nothing to iterate."""

    path: Path
    fingerprint: str = ""
    count: int = 0
    """Rows in use (not set aside)."""
    kind: Literal["example", "pair"] = "example"
    views: tuple[View, ...] = ()

    def __iter__(self) -> Iterator[Row]:
        return (row for row in self.rows() if row.set_aside is None)

    def rows(self) -> Iterator[Row]:
        """Yields every row, those set aside included, in order of writing."""
        from woolgather.core.storage import read_rows

        return read_rows(self.path)

    def __len__(self) -> int:
        return self.count

    def __canonical__(self) -> JSON:
        return {"artifact": self.fingerprint}


@dataclass(frozen=True)
class Model:
    """A model as steps pass it on: a plain Hugging Face directory with full weights, or a PEFT adapter
    that names its base; or a name on the hub. Nothing is loaded by it."""

    path: str
    """A local directory, or `repo@commit` on the hub."""
    fingerprint: str = ""
    prompt_format: PromptFormat = "chat"
    """How it is prompted: by its chat template, or as raw text to complete (a base model)."""
    views: tuple[View, ...] = ()
    digest: str = ""
    """sha256 of the files of its directory, as the fingerprint's maker left them; empty where not
    known (the hub addresses files by content). Never identity: it guards against changed files."""
    chat_template_kwargs: TemplateVariables = field(default_factory=dict)
    """What its chat template is told beside the conversation. They are part of `fingerprint` (see
    `with_variables`); a model trained from this one has them in the template that is saved with it."""

    chat_template: str = ""
    """The template that it is asked and trained with instead of its own (see template_choice.py); empty
    for its own. Part of `fingerprint` (see `with_template`), and saved with a model trained from it."""

    def __canonical__(self) -> JSON:
        return {"artifact": self.fingerprint}

    def with_template(self, template: str) -> Model:
        """Returns the model with another chat template: another one to ask and to train from, and the
        same where `template` is empty."""
        if not template:
            return self
        print_ = fingerprint({"model": self.fingerprint, "chat_template": template})
        return replace(self, fingerprint=print_, chat_template=template)

    def with_variables(self, variables: TemplateVariables) -> Model:
        """Returns the model whose chat template is told `variables`, too: another one to ask and to
        train from, and the same where there are none."""
        if not variables:
            return self
        told = {**self.chat_template_kwargs, **variables}
        print_ = fingerprint({"model": self.fingerprint, "chat_template_kwargs": canonical(told)})
        return replace(self, fingerprint=print_, chat_template_kwargs=told)


@dataclass(frozen=True)
class Metrics:
    """What a step measured."""

    values: Mapping[str, JSON]
    """By measure; None means that it was not measured."""
    items: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    """Per-item outcomes behind a number, by measure then item id: what a paired test needs."""
    fingerprint: str = ""
    views: tuple[View, ...] = ()
    headline: str = ""
    """What they say, in a few words or a sentence: the step's line in every list of steps."""
    concludes: bool = False
    """Whether the headline says what came of the whole run. A report begins with it and a launch ends
    with it."""

    def __canonical__(self) -> JSON:
        return {"artifact": self.fingerprint}


@dataclass(frozen=True)
class Choice:
    """A decision that a step made, and why. A recipe branches on `value` and on nothing else."""

    value: JSON
    why: str = ""
    fingerprint: str = ""
    views: tuple[View, ...] = ()

    def __canonical__(self) -> JSON:
        return {"artifact": self.fingerprint}


Artifact = Dataset | Model | Metrics | Choice
