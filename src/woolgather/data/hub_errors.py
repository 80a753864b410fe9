"""Why the model hub does not give a model or a data set, in a sentence with its remedy.

The one idea: the libraries that ask the hub have no error in common and say in many lines what is one
of four things: there is no such name (or not for you), its owners ask for consent first, there is no
such revision, or the hub cannot be reached. Whatever else it is, is said in their own first line.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

LOGIN = "`hf auth login`, or HF_TOKEN in the environment"

UNREACHABLE = {"ConnectError", "TimeoutException", "OfflineModeIsEnabled", "ConnectionError"}
"""Classes of errors that say so, of all the libraries below."""


def why_not(
    error: Exception,
    name: str,
    kind: Literal["model", "data set"],
    check: str = "the name",
) -> str:
    """Returns why the hub did not give `name` (`owner/name[@revision]`), and what to do.

    `check` is where to look when the error is none of those known here.
    """
    repo, _, revision = name.partition("@")
    kinds, status = kinds_of(error), status_of(error)
    if "DatasetNotFoundError" in kinds:
        kinds.add(_tell_apart(str(error)))
    if "GatedRepoError" in kinds:
        return (
            f"the hub gives this {kind} only to those who agreed to its terms. Agree on its page "
            f"({_page(repo, kind)}), then say who you are: {LOGIN}."
        )
    if "RevisionNotFoundError" in kinds:
        wanted = f"no revision {revision!r}" if revision else "nothing at this revision"
        return f"the {kind} has {wanted}. Give a branch, a tag or a commit: {repo}@<revision>."
    if "RepositoryNotFoundError" in kinds or 401 in status:
        return (
            f"the hub has no {kind} of this name, or does not show it to you. Check the name; if it "
            f"is private, say who you are: {LOGIN}."
        )
    if 403 in status:
        return (
            "the hub refuses it (403) with what is known of you. Give a token that may read it: "
            f"{LOGIN}."
        )
    if kinds & UNREACHABLE:
        return (
            f"the hub cannot be reached ({type([*_chain(error)][-1]).__name__}). Check the network."
        )
    first = (str(error).strip() or "no reason given").splitlines()[0]
    return f"the hub does not give it ({type(error).__name__}: {first}). Check {check}."


def kinds_of(error: Exception) -> set[str]:
    """Returns the names of the classes of an error and of those that it was raised from."""
    return {cls.__name__ for each in _chain(error) for cls in type(each).__mro__}


def status_of(error: Exception) -> set[int | None]:
    """Returns the HTTP status of every answer among them."""
    return {getattr(getattr(each, "response", None), "status_code", None) for each in _chain(error)}


def _tell_apart(said: str) -> str:
    """`datasets` makes one error of three, and lets only its words tell which."""
    if "gated" in said:
        return "GatedRepoError"
    return "RevisionNotFoundError" if said.startswith("Revision") else "RepositoryNotFoundError"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error, and what it was raised from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _page(repo: str, kind: str) -> str:
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{'datasets/' if kind == 'data set' else ''}{repo}"
