"""`import woolgather` and `woolgather --help` answer at once: nothing heavy is loaded, for real."""

import json
import subprocess
import sys

import pytest

HEAVY = ["torch", "transformers", "trl", "peft", "vllm", "ray", "pyarrow", "openai", "datasets"]
ALSO_SLOW = ["numpy", "sklearn", "scipy", "plotly", "pandas"]
HELP = """
import contextlib, io
from woolgather.cli import main
import sys
sys.argv = ["woolgather", "--help"]
shown = io.StringIO()
with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
    main()
assert "Usage" in shown.getvalue(), shown.getvalue()
"""


def loaded_after(code: str) -> set[str]:
    """Top-level packages in sys.modules of a fresh process that ran `code`."""
    program = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.parametrize("code", ["import woolgather", "import woolgather.cli", HELP])
def test_nothing_heavy_is_loaded(code):
    loaded = loaded_after(code)
    assert "woolgather" in loaded
    assert not loaded & {*HEAVY, *ALSO_SLOW}


@pytest.mark.parametrize(
    "module",
    [
        "engines.openai.engine",
        "engines.journal",
        "engines.fake",
        "data",
        "core.storage",
        "prompting.renderer",
        "models.embedded",
        "training.job",
        "runs.run",
    ],
)
def test_the_rooms_that_use_heavy_libraries_load_them_late(module):
    loaded = loaded_after(f"import woolgather.{module}")
    assert not loaded & set(HEAVY)


def test_a_heavy_import_would_be_seen():
    assert "pyarrow" in loaded_after("import pyarrow")
