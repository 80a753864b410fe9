"""Rows on disk: Parquet with one fixed schema per kind of row, written as they stream.

zstd-compressed shards that `datasets`, DuckDB and pandas open directly. `verdicts` is a list of
structs and `meta` a JSON text, so that the schema never depends on the data. Temp file, fsync,
rename: a shard is whole or not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from woolgather.core.rows import JSON, Example, PreferencePair, Row, Verdict

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP = 512
SHARD_ROWS = 100_000


def schema(kind: str) -> pa.Schema:
    """Returns the fixed schema of "example" or "pair" rows."""
    import pyarrow as pa

    text, texts = pa.string(), pa.list_(pa.string())
    common = [("parents", texts), ("set_aside", text), ("meta", text)]
    if kind == "pair":
        names = ["id", "instruction", "chosen", "rejected", "system"]
        return pa.schema([(n, text) for n in names] + common, metadata={"woolgather": kind})
    names = ["id", "instruction", "input", "response", "system", "finish_reason"]
    verdict = pa.struct([("name", text), ("score", pa.float64()), ("text", text)])
    return pa.schema(
        [(n, text) for n in names] + [("verdicts", pa.list_(verdict))] + common,
        metadata={"woolgather": kind},
    )


def to_record(row: Row) -> dict[str, JSON]:
    """Returns a row as the plain dictionary that is stored."""
    common: dict[str, JSON] = {
        "id": row.id,
        "instruction": row.instruction,
        "system": row.system,
        "parents": list(row.parents),
        "set_aside": row.set_aside,
        "meta": json.dumps(dict(row.meta), ensure_ascii=False, sort_keys=True),
    }
    if isinstance(row, PreferencePair):
        return {**common, "chosen": row.chosen, "rejected": row.rejected}
    verdicts: list[JSON] = [
        {"name": name, "score": v.score, "text": v.text} for name, v in sorted(row.verdicts.items())
    ]
    return {
        **common,
        "input": row.input,
        "response": row.response,
        "finish_reason": row.finish_reason,
        "verdicts": verdicts,
    }


def from_record(record: Mapping[str, Any]) -> Row:
    """Returns the row of a stored dictionary: the inverse of `to_record`."""
    common: dict[str, Any] = {
        "id": record["id"],
        "instruction": record["instruction"],
        "system": record["system"] or "",
        "parents": tuple(record["parents"] or ()),
        "set_aside": record["set_aside"],
        "meta": json.loads(record["meta"] or "{}"),
    }
    if "chosen" in record:
        return PreferencePair(chosen=record["chosen"], rejected=record["rejected"], **common)
    verdicts = {v["name"]: Verdict(v["score"], v["text"] or "") for v in record["verdicts"] or ()}
    return Example(
        input=record["input"] or "",
        response=record["response"] or "",
        finish_reason=record["finish_reason"],
        verdicts=verdicts,
        **common,
    )


def write_rows(rows: Iterable[Row], folder: Path, kind: str) -> Iterator[Row]:
    """Write rows of a kind ("example" or "pair") to shards in `folder` as they come; yields each of them.

    Only whole shards are left behind. The caller must exhaust the iterator: the last shard gets its name
    at the end.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    shape, shard, written = schema(kind), 0, 0
    buffer: list[dict[str, JSON]] = []
    temp = folder / ".part.tmp"
    writer: pq.ParquetWriter | None = None

    def flush() -> None:
        if buffer:
            assert writer is not None
            writer.write_table(pa.Table.from_pylist(buffer, schema=shape))
            buffer.clear()

    def close() -> None:
        flush()
        assert writer is not None
        writer.close()
        publish(temp, folder / f"part-{shard:05d}.parquet")

    try:
        for row in rows:
            if writer is None:
                writer = pq.ParquetWriter(temp, shape, compression="zstd")
            buffer.append(to_record(row))
            written += 1
            yield row
            if len(buffer) >= ROW_GROUP:
                flush()
            if written % SHARD_ROWS == 0:
                close()
                writer, shard = None, shard + 1
        if writer is None and shard == 0:
            writer = pq.ParquetWriter(temp, shape, compression="zstd")
        if writer is not None:
            close()
            writer = None
    finally:
        if writer is not None:
            with contextlib.suppress(Exception):  # closing writes, and the disk may be full
                writer.close()
            temp.unlink(missing_ok=True)


def read_rows(folder: Path) -> Iterator[Row]:
    """Yields every row of the shards in `folder`, in order, in bounded memory."""
    import pyarrow.parquet as pq

    for shard in sorted(folder.glob("part-*.parquet")):
        with pq.ParquetFile(shard) as file:
            for batch in file.iter_batches(batch_size=ROW_GROUP):
                yield from map(from_record, batch.to_pylist())


def publish(temp: Path, final: Path) -> None:
    """Fsync `temp` and rename it to `final`."""
    with temp.open("rb+") as file:
        os.fsync(file.fileno())
    temp.replace(final)
    descriptor = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: object) -> None:
    """Write JSON, whole or not at all. Raises OSError and leaves what was there. One program writes
    `path`; see `write_shared_json`."""
    _write_json(path, value, path.with_name(f".{path.name}.tmp"))


def write_shared_json(path: Path, value: object) -> None:
    """Write JSON, whole or not at all, where several programs may write `path` at the same time: the
    last one's stands."""
    _write_json(path, value, path.with_name(f".{path.name}.{os.getpid()}.tmp"))


def _write_json(path: Path, value: object, temp: Path) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=1) + "\n"
    try:
        # Half a character (names of files that are not UTF-8 have such) is spelled as JSON spells it.
        temp.write_text(text, encoding="utf-8", errors="backslashreplace")
        publish(temp, path)
    except OSError:
        temp.unlink(missing_ok=True)
        raise


def digest(path: Path) -> str:
    """Returns the sha256 of a file, or of the names and digests of the files in a directory."""
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        return digest_of({f.relative_to(path).as_posix(): digest(f) for f in files})
    sha = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            sha.update(block)
    return sha.hexdigest()


def digest_of(files: Mapping[str, str]) -> str:
    """Returns the `digest` of a directory, from that of each file in it, in the order of their paths."""
    sha = hashlib.sha256()
    for name, inner in files.items():
        sha.update(os.fsencode(f"{name}\0{inner}\n"))
    return sha.hexdigest()
