"""Where things of this machine are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Returns the directory for what is computed once per machine: `WOOLGATHER_CACHE`, with `~`
    expanded, or `~/.cache/woolgather`. It need not exist yet."""
    return Path(os.environ.get("WOOLGATHER_CACHE") or "~/.cache/woolgather").expanduser()
