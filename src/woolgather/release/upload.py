"""Repositories of a release go to the hub, one commit each, and nothing goes twice.

The one idea: the hub is asked before anything is written there. Whoever sends sees which repositories
are new and which are public; a file that is there with the same content is left out of the commit, and
nothing is ever deleted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from woolgather.core.errors import InputError, MistakeError
from woolgather.data.hub_errors import LOGIN, UNREACHABLE, kinds_of, status_of
from woolgather.release.folder import Repository

if TYPE_CHECKING:
    from huggingface_hub import HfApi


@dataclass(frozen=True)
class Destination:
    """Where a repository goes, as the hub has it now."""

    repository: Repository
    url: str
    is_new: bool
    private: bool
    head: str = ""
    """Its newest commit; empty where it is new."""


@dataclass(frozen=True)
class Sent:
    """What came of sending one repository."""

    place: Destination
    commit: str

    @property
    def changed(self) -> bool:
        """Returns whether anything was new."""
        return self.commit != self.place.head


class Publisher:
    """The hub, under the name of the one whose token is used. Raises InputError without a token, for one
    that the hub does not know, and where the hub cannot be reached."""

    def __init__(self) -> None:
        from huggingface_hub import HfApi, get_token
        from huggingface_hub.utils import disable_progress_bars, logging

        if not get_token():
            raise InputError(f"no token: the hub must know who sends. Say who you are: {LOGIN}.")
        if not sys.stderr.isatty():
            disable_progress_bars()
        logging.set_verbosity_error()  # it warns where a commit would be empty; we say it ourselves
        self._api: HfApi = HfApi(library_name="woolgather")
        with _explain_refusal("the hub"):
            self.user = str(self._api.whoami()["name"])

    def look_at(self, repositories: Sequence[Repository], private: bool) -> list[Destination]:
        """Returns where each goes. Raises MistakeError for a repository that is public already although
        it shall be private."""
        return [self._look_at(repository, private) for repository in repositories]

    def send(self, place: Destination) -> Sent:
        """Makes the repository where it is new, and a commit of what has changed."""
        from huggingface_hub import CommitOperationAdd

        repository = place.repository
        to, folder = {"repo_id": repository.name, "repo_type": repository.kind}, repository.folder
        with _explain_refusal(repository.name):
            self._api.create_repo(**to, private=place.private, exist_ok=True)
            files = [
                CommitOperationAdd(path.relative_to(folder).as_posix(), path)
                for path in repository.files
            ]
            made = self._api.create_commit(
                **to, operations=files, commit_message="A run of woolgather"
            )
        return Sent(place, str(made.oid))

    def _look_at(self, repository: Repository, private: bool) -> Destination:
        from huggingface_hub.errors import RepositoryNotFoundError

        kind = "datasets/" if repository.kind == "dataset" else ""
        url = f"{self._api.endpoint}/{kind}{repository.name}"
        with _explain_refusal(repository.name):
            try:
                found = self._api.repo_info(repository.name, repo_type=repository.kind)
            except RepositoryNotFoundError:
                return Destination(repository, url, True, private)
        if private and not found.private:
            raise MistakeError(
                f"--private: {repository.name} is public already. Make it private on its page ({url}), "
                "or give another name with --to."
            )
        return Destination(repository, url, False, bool(found.private), str(found.sha))


@contextmanager
def _explain_refusal(name: str) -> Iterator[None]:
    """Says what the hub refuses, in a sentence with its remedy."""
    try:
        yield
    except Exception as error:  # the libraries below have no error in common
        raise InputError(f"{name}: {_why_refused(error)}") from error


def _why_refused(error: Exception) -> str:
    kinds, status = kinds_of(error), status_of(error)
    if kinds & UNREACHABLE:
        return "the hub cannot be reached. Check the network, or use --dry-run."
    if 401 in status:
        return f"the hub does not know this token. Say who you are: {LOGIN}."
    if 403 in status:
        return (
            "the hub does not let this token write there. Give a token that may write, or a name of "
            "your own with --to."
        )
    first = (str(error).strip() or "no reason given").splitlines()[0]
    return f"the hub does not take it ({type(error).__name__}: {first})."
