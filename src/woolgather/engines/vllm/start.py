"""The program that an interpreter with vLLM runs: this package made importable there, and nothing else.

The one idea: the two environments never mix. The folder that holds our package may hold a whole other
environment, so it is not put on the path; the package alone is loaded from where this file lies. vLLM's
own processes, which run this file again under another name, find it likewise.

Run as a program, with its end of the pipe as standard input, and `-P`, since modules here are called
like those of others.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2]


def load_package() -> None:
    """Makes `import woolgather` give the package that this file belongs to."""
    spec = importlib.util.spec_from_file_location(
        "woolgather", PACKAGE / "__init__.py", submodule_search_locations=[str(PACKAGE)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["woolgather"] = package
    spec.loader.exec_module(package)


if "woolgather" not in sys.modules:
    load_package()

if __name__ == "__main__":
    from woolgather.engines.subprocess.host import main

    main()
