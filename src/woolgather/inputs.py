"""Things from outside a run become artifacts: a base model, a file of seeds, a folder of texts.

A model on disk is known by the content of its files (hashed once, remembered by path, size and
time), one on the hub by its commit. Rows are read by formats, checked, and stored in the run as
Parquet under the hash of their content. Texts may be many: they are hashed like a model, stay where
they are, and are read as a stream. Nothing is downloaded here unless the user names a hub model
that is not in the local cache.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from woolgather import formats, step_record
from woolgather.artifacts import Dataset, Model, PromptFormat
from woolgather.errors import InputError
from woolgather.fingerprint import fingerprint
from woolgather.hub import why_not
from woolgather.paths import cache_dir
from woolgather.record_files import SUFFIXES
from woolgather.records import Row
from woolgather.storage import digest, digest_of, to_record, write_json, write_rows
from woolgather.text_files import TEXT_SUFFIXES, Texts, find_files

EMBEDDED = "embedded"
"""`base=embedded` is the small model that installs from a package."""


def open_model(name: str | Model, prompt_format: PromptFormat = "chat") -> Model:
    """A Model from `embedded`, a local directory, or `repo[@revision]` on the hub.

    Raises InputError when it is not there or has no tokenizer."""
    if isinstance(name, Model):
        return name
    if not name:
        raise InputError("no base model. Name one: base=<folder or hub name>, or base=embedded.")
    if name.startswith("fake"):
        return Model(name, fingerprint({"fake": name}), prompt_format)
    if name == EMBEDDED:
        from woolgather.embedded import embedded_model

        name = str(embedded_model())
    path = Path(name).expanduser()
    if path.is_dir():
        _check_model_dir(path)
        print_ = fingerprint({"files": model_digest(path)})
        whole = digest_of(file_digests(path))
        return Model(str(path.resolve()), print_, prompt_format, digest=whole)
    if name.startswith((".", "/", "~")) or name.partition("@")[0].count("/") > 1:
        raise InputError(f"base={name}: no such folder. Give a folder with config.json in it.")
    return _open_hub(name, prompt_format)


def _open_hub(name: str, prompt_format: PromptFormat) -> Model:
    from huggingface_hub import snapshot_download

    repo, _, revision = name.partition("@")
    wanted = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
    twice = ["consolidated*", "*/*.safetensors"]  # the same weights in another shape

    def folder(*, cached: bool) -> Path:
        found = snapshot_download(
            repo,
            revision=revision or None,
            local_files_only=cached,
            allow_patterns=wanted,
            ignore_patterns=twice,
        )
        return Path(found)

    try:
        path = folder(cached=True)
        _check_model_dir(path, name)
    except Exception:  # not there, or only what another program wanted of it
        try:
            path = folder(cached=False)
        except Exception as error:
            raise InputError(
                f"base={name}: no folder here, and {why_not(error, name, 'model')} "
                "Or give a local folder."
            ) from error
        _check_model_dir(path, name)
    return Model(str(path), fingerprint({"hub": repo, "commit": path.name}), prompt_format)


def _check_model_dir(path: Path, name: str = "") -> None:
    """`name` is what the user called it, if not its path."""
    said = f"base={name or path}"
    adapter = (path / "adapter_config.json").is_file()
    if not adapter and not (path / "config.json").is_file():
        raise InputError(f"{said}: no config.json there, so it is not a model directory.")
    names = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")
    if not any((path / name).is_file() for name in names):
        raise InputError(
            f"{said}: the model has no tokenizer (tokenizer.json). "
            "Save the tokenizer beside it: tokenizer.save_pretrained(...)."
        )
    if not adapter and not list(path.glob("*.safetensors")):
        raise InputError(
            f"{said}: no *.safetensors weights there. Save the model with safetensors."
        )


def model_digest(path: Path) -> str:
    """Content hash of a model directory."""
    return fingerprint(file_digests(path))


def file_digests(path: Path) -> dict[str, str]:
    """Of each file below a directory, remembered by its path, size and time."""
    known = _known_digests()
    digests: dict[str, str] = {}
    changed = False
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        key = _file_key(file)
        if key not in known:
            known[key] = digest(file)
            changed = True
        digests[file.relative_to(path).as_posix()] = known[key]
    if changed:
        _remember(known)
    return digests


def files_digest(files: Iterable[tuple[str, Path]]) -> str:
    """Content hash of named files. They may be a million, so that all together are remembered, by
    the hash of their paths, sizes and times: one entry, made again when one of them changes."""
    files = list(files)
    listed = hashlib.sha256()
    for name, path in files:
        listed.update(f"{name}\0{_file_key(path)}\n".encode())
    key, known = f"files|{listed.hexdigest()}", _known_digests()
    if key not in known:
        content = hashlib.sha256()
        for name, path in files:
            content.update(f"{name}\0{digest(path)}\n".encode())
        known[key] = content.hexdigest()
        _remember(known)
    return known[key]


def _file_key(file: Path) -> str:
    stat = file.stat()
    return f"{file.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"


def _known_digests() -> dict[str, str]:
    try:
        return dict(json.loads((cache_dir() / "digests.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _remember(known: dict[str, str]) -> None:
    store = cache_dir() / "digests.json"
    store.parent.mkdir(parents=True, exist_ok=True)
    write_json(store, known)


def open_dataset(
    source: str | Path | Dataset,
    store: Path,
    name: str,
    *,
    needs_response: bool = True,
    kind: Literal["example", "pair"] = "example",
) -> Dataset:
    """Rows of a file or directory in any shape that formats reads, as a Dataset under `store`.

    Raises InputError naming file, line, field and remedy; an empty set is an error."""
    if isinstance(source, Dataset):
        return source
    rows: list[Row] = []
    if kind == "pair":
        rows += formats.read_pairs(Path(source))
    else:
        rows += formats.read_examples(Path(source), needs_response=needs_response)
    used = sum(row.set_aside is None for row in rows)
    if not used:
        raise InputError(f"{source} holds no rows. Give at least a handful of examples.")
    print_ = fingerprint([to_record(row) for row in rows])
    folder = store / f"{name}-{print_[:12]}"
    if not list(folder.glob("part-*.parquet")):
        for _ in write_rows((_with_id(r, i, name) for i, r in enumerate(rows)), folder, kind):
            pass
    return Dataset(folder, print_, used, kind)


def open_texts(
    source: str | Path | Iterable[str | Path],
    *,
    column: str = "text",
    split: str = "train",
    subset: str = "",
) -> Texts:
    """Documents of a file, a folder, several of them, or a data set `owner/name[@revision]` on the
    hub, known by their content. Raises InputError when there are none."""
    sources = [source] if isinstance(source, str | Path) else list(source)
    if len(sources) == 1 and _on_hub(sources[0]):
        return _begun(_open_hub_texts(str(sources[0]), column, split, subset))
    files: list[tuple[str, Path]] = []
    for each in sources:
        found = find_files(Path(each).expanduser())
        inside = len(sources) > 1 and Path(each).expanduser().is_dir()
        files += [(f"{Path(each).name}/{n}", p) for n, p in found] if inside else found
    print_ = fingerprint({"texts": files_digest(files), "column": column})
    texts = Texts(
        ", ".join(map(str, sources)),
        files=tuple(files),
        column=column,
        fingerprint=print_,
        size=sum(path.stat().st_size for _, path in files),
    )
    return _begun(texts)


def _begun(texts: Texts) -> Texts:
    """The same, read as far as its first text: that there is none, a wrong column, or a data set that
    is not for us shows before models are trained to use it. Remembered, so that a run goes on
    without the hub."""
    key, known = f"begun|{texts.fingerprint}", _known_digests()
    if key not in known:
        next(document for document in texts if document.text.strip())
        _remember({**known, key: "yes"})
    return texts


def note_texts(texts: Texts, store: Path, name: str) -> Path:
    """A note under `store` of what the texts are, where rows would lie if there were not so many;
    a row made from a text names its place within them. The folder."""
    folder = store / f"{name}-{texts.fingerprint[:12]}"
    where = {"hub": texts.hub, "split": texts.split, "subset": texts.subset}
    noted = {
        "name": texts.name,
        "files": len(texts.files),
        "bytes": texts.size,
        "column": texts.column,
        **(where if texts.hub else {}),
    }
    if step_record.read_input(folder) != noted:
        step_record.write_input(folder, noted)
    return folder


def _on_hub(source: str | Path) -> bool:
    text = str(source)
    name = text.partition("@")[0]
    return (
        isinstance(source, str)
        and not Path(text).exists()
        and re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name) is not None
        and Path(name).suffix.lower() not in (*TEXT_SUFFIXES, *SUFFIXES)
    )


def _open_hub_texts(name: str, column: str, split: str, subset: str) -> Texts:
    repo, _, revision = name.partition("@")
    commit = revision if re.fullmatch(r"[0-9a-f]{40}", revision) else _commit_of(repo, revision)
    known = {"hub": repo, "commit": commit, "split": split, "subset": subset, "column": column}
    return Texts(
        name,
        hub=f"{repo}@{commit}",
        column=column,
        split=split,
        subset=subset,
        fingerprint=fingerprint(known),
    )


def _commit_of(repo: str, revision: str) -> str:
    from huggingface_hub import HfApi

    try:
        return str(HfApi().dataset_info(repo, revision=revision or None).sha)
    except Exception as error:
        name = f"{repo}@{revision}" if revision else repo
        raise InputError(
            f"texts={name}: no file or folder here, and {why_not(error, name, 'data set')} "
            "Or give files."
        ) from error


def _with_id(row: Row, index: int, name: str) -> Row:
    return row if row.id else replace(row, id=f"{name}-{index:05d}")
