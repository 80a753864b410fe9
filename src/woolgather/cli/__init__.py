"""Thin commands over the library, no logic of their own.

Exit codes: 2 a mistake in what was asked, 1 a failure of the work, 75 stopped at a deadline or by a
signal (the same command resumes the run).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from woolgather.cli.command_list import app as app
from woolgather.core.errors import WoolgatherError, disk_error


def main() -> None:
    """Run the command line. A user's mistake becomes one message, never a traceback."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        app()(prog_name="woolgather")
    except WoolgatherError as error:
        _say(error)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        full = disk_error(error, Path(error.filename or "."))
        if full is None:
            raise
        _say(full)


def _say(error: WoolgatherError) -> None:
    """Print the message to stderr and exit with the error's code."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, soft_wrap=True)
    console.print(Text("error: ", style="bold red") + Text(str(error)))
    sys.exit(error.exit_code)
