"""What can be prepared, from where, and how the rows are written."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from woolgather.core.errors import InputError
from woolgather.core.rows import Example
from woolgather.core.storage import publish
from woolgather.data import write_rows_as
from woolgather.data.record_files import write_json_records
from woolgather.prepare.counting import FilterCounts
from woolgather.prepare.prompts import dromedary2_prompts
from woolgather.prepare.reading import Wanted
from woolgather.prepare.sets import Document, oasst1, refinedweb, ultrachat
from woolgather.prepare.sources import PublishedSource

Prepared = Iterator[Example] | Iterator[Document]


@dataclass(frozen=True)
class Preparation:
    """How one data set is prepared; its docstring says what for."""

    make: Callable[[Mapping[str, PublishedSource], Wanted, FilterCounts], Prepared]
    """Rows or documents, from sources by name."""
    sources: Mapping[str, PublishedSource]
    """By name, where they are on the hub."""


SETS: Mapping[str, Preparation] = {
    "oasst1": Preparation(
        oasst1, {"oasst1": PublishedSource("OpenAssistant/oasst1", "train+validation")}
    ),
    "refinedweb": Preparation(
        refinedweb, {"refinedweb": PublishedSource("tiiuae/falcon-refinedweb")}
    ),
    "ultrachat": Preparation(
        ultrachat, {"ultrachat": PublishedSource("HuggingFaceH4/ultrachat_200k", split="train_sft")}
    ),
    "dromedary2-prompts": Preparation(
        dromedary2_prompts,
        {
            "sharegpt": PublishedSource(
                "zetavg/ShareGPT-Processed",
                also=(
                    PublishedSource(
                        "anon8231489123/ShareGPT_Vicuna_unfiltered",
                        files=tuple(
                            f"HTML_cleaned_raw_dataset/sg_90k_part{part}.json" for part in (1, 2)
                        ),
                    ),
                ),
            ),
            "dolly": PublishedSource("databricks/databricks-dolly-15k"),
            "openassistant": PublishedSource("OpenAssistant/oasst1"),
            "openorca": PublishedSource("Open-Orca/OpenOrca", files=("1M-GPT4-Augmented.parquet",)),
        },
    ),
}


def write(rows: Iterable[Example] | Iterable[Document], path: Path, name: str) -> int:
    """Writes what the preparation `name` made to `path` (.jsonl or .parquet), whole or not at all;
    returns the number of rows. Documents get the columns `id`, `text` and `url`; rows are written
    so that `data` reads them again. Raises InputError for text that no file can hold."""
    parquet = path.suffix == ".parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.with_name(f".{path.name}.tmp")
    try:
        if name != "refinedweb":
            examples = cast(Iterable[Example], rows)
            return write_rows_as(examples, path, "parquet" if parquet else "jsonl")
        texts = cast(Iterable[Document], rows)
        count = _columns(texts, temp) if parquet else write_json_records(texts, temp, array=False)
        publish(temp, path)
    except UnicodeEncodeError as error:
        raise InputError(
            f"a row holds half a character ({error.object[max(0, error.start - 20) : error.start]!r} "
            "comes before it), which no file can hold. Take that row out of the source."
        ) from None
    finally:
        temp.unlink(missing_ok=True)
    return count


def _columns(rows: Iterable[Document], path: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    shape = pa.schema([(name, pa.string()) for name in ("id", "text", "url")])
    source, count = iter(rows), 0
    with pq.ParquetWriter(path, shape, compression="zstd") as writer:
        while group := list(itertools.islice(source, 512)):
            writer.write_table(pa.Table.from_pylist(group, schema=shape))
            count += len(group)
    return count
