"""Texts from outside a run become artifacts of it.

They may be many: they are hashed like a model, stay where they are, and are read as a stream.
"""

from __future__ import annotations

from pathlib import Path

from woolgather.core.fingerprint import fingerprint
from woolgather.core.rows import JSON
from woolgather.data import Source
from woolgather.data.documents import TEXT_SUFFIXES, Texts, find_files
from woolgather.data.folders import is_hub_name, split_sources, suffix_of
from woolgather.models.digests import files_digest, read_digests, remember_digests
from woolgather.runs.inputs.store import InputStore
from woolgather.runs.record import read_input, write_input


def open_texts(
    source: Source,
    store: InputStore | None = None,
    *,
    column: str | tuple[str, ...] = "text",
    split: str = "train",
    subset: str = "",
) -> Texts:
    """Returns the documents of a file, a folder, several of them, or a data set
    `owner/name[@revision]` on the hub, known by their content. The store of a run says which commit of
    the hub is read. Raises InputError when there are none."""
    sources = split_sources(source)
    if len(sources) == 1 and _on_hub(sources[0]):
        name = str(sources[0])
        said = f"texts={name}: no file or folder here, and "
        commit = (store or InputStore(Path())).commit(name, said, "Or give files.")
        return _begin(_open_hub_texts(name, commit, column, split, subset))
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
    return _begin(texts)


def _begin(texts: Texts) -> Texts:
    """The same, read as far as its first text: that there is none, a wrong column, or a data set that
    is not for us shows before models are trained to use it. Remembered, so that a run goes on
    without the hub."""
    key, known = f"begun|{texts.fingerprint}", read_digests()
    if key not in known:
        next(document for document in texts if document.text.strip())
        remember_digests({**known, key: "yes"})
    return texts


def note_texts(texts: Texts, store: Path, name: str) -> Path:
    """Write a note under `store` of what the texts are, where rows would lie if there were not so many;
    a row made from a text names its place within them. Returns the folder."""
    folder = store / f"{name}-{texts.fingerprint[:12]}"
    where: dict[str, JSON] = {"hub": texts.hub, "split": texts.split, "subset": texts.subset}
    noted: dict[str, JSON] = {
        "name": texts.name,
        "files": len(texts.files),
        "bytes": texts.size,
        "column": texts.column if isinstance(texts.column, str) else [*texts.column],
        **(where if texts.hub else {}),
    }
    if read_input(folder) != noted:
        write_input(folder, noted)
    return folder


def _on_hub(source: str | Path) -> bool:
    name = Path(str(source).partition("@")[0])
    return is_hub_name(source) and suffix_of(name) not in TEXT_SUFFIXES


def _open_hub_texts(
    name: str, commit: str, column: str | tuple[str, ...], split: str, subset: str
) -> Texts:
    repo = name.partition("@")[0]
    known = {"hub": repo, "commit": commit, "split": split, "subset": subset, "column": column}
    return Texts(
        name,
        hub=f"{repo}@{commit}",
        column=column,
        split=split,
        subset=subset,
        fingerprint=fingerprint(known),
    )
