"""Texts beyond one machine, with Ray Data: rules and near-duplicates over a folder of Parquet files.

    python examples/ray_texts.py TEXTS KEPT

The one idea: of each text only what is dear to compute is computed on all nodes, the rules and the
sketch by which near-duplicates are found. Which texts are near an earlier one is decided in one place,
from sketches of 192 bytes, as `prepare_texts` decides it. Both folders must be on a disk that all nodes
share. Ray joins the cluster that RAY_ADDRESS names, or starts here. It needs `pip install 'ray[data]'`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import ray.data

from woolgather.ops.curate.minhash import MINIMA, NearDuplicates, Sketch, sketch_of
from woolgather.ops.curate.texts import TextOptions, broken_text_rule

OPTIONS = TextOptions(min_chars=60)


def screen(batch: dict[str, list[str]]) -> dict[str, list[str] | list[bytes]]:
    """Returns the texts that break no rule, each with its sketch."""
    passed = [text for text in batch["text"] if not broken_text_rule(text, OPTIONS)]
    found = [(text, sketch) for text in passed if (sketch := sketch_of(text))]
    sketches = [s.low_bytes.tobytes() + s.band_keys.tobytes() for _, s in found]
    return {"text": [text for text, _ in found], "sketch": sketches}


def write_kept(source: Path, kept: Path, keep: list[bool]) -> int:
    """Writes the texts to keep of one file, on whichever node is free. Returns how many they are."""
    pq.write_table(pq.read_table(source, columns=["text"]).filter(keep), kept / source.name)
    return sum(keep)


def main(texts: Path, kept: Path) -> None:
    ray.init(os.environ.get("RAY_ADDRESS", "local"))
    kept.mkdir(parents=True)
    index, work = NearDuplicates(OPTIONS.near_duplicate or 1), []
    with tempfile.TemporaryDirectory(dir=kept.parent) as screened:
        read = ray.data.read_parquet(str(texts), columns=["text"])
        parts = read.repartition(target_num_rows_per_block=50_000)
        parts.map_batches(screen, batch_size=1000).write_parquet(screened)
        for path in sorted(Path(screened).glob("*.parquet")):
            raw = pq.read_table(path, columns=["sketch"])["sketch"].to_pylist()
            both = ((np.frombuffer(r, np.uint8, MINIMA), r[MINIMA:]) for r in raw)
            near = [index.add_sketch(Sketch(low, np.frombuffer(k, np.uint32))) for low, k in both]
            work.append(ray.remote(write_kept).remote(path, kept, [not n for n in near]))
        print(f"{sum(ray.get(work))} texts kept, index of {index.nbytes >> 20} MiB")


if __name__ == "__main__":
    main(*(Path(path).resolve() for path in sys.argv[1:3]))
