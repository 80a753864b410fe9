"""`examples/ray_texts.py` keeps the texts that `prepare_texts` keeps."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from woolgather.ops.curate.texts import TextOptions, prepare_texts

pytestmark = pytest.mark.full
EXAMPLE = Path(__file__).parents[3] / "examples" / "ray_texts.py"


def test_the_same_texts_are_kept_as_on_one_machine(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'woolgather[ray]'")
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefgh", k=6)) for _ in range(500)]
    texts = [" ".join(rng.choices(words, k=30)).capitalize() + "." for _ in range(200)]
    texts += [text.replace(text.split()[-1], "end.") for text in texts[:40]] + ["short"]
    (tmp_path / "texts").mkdir()
    pq.write_table(pa.table({"text": texts}), tmp_path / "texts" / "one.parquet")
    done = subprocess.run(
        [sys.executable, EXAMPLE, tmp_path / "texts", tmp_path / "kept"],
        env={**os.environ, "RAY_ADDRESS": "local", "RAY_worker_niceness": "0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    kept = pq.read_table(tmp_path / "kept")["text"].to_pylist()
    documents = [SimpleNamespace(text=text, source="") for text in texts]
    rows = list(prepare_texts(documents, options=TextOptions(min_chars=60, cut="whole")))
    assert sorted(kept) == sorted(row.response for row in rows if row.set_aside is None)
    assert len(kept) == 200
