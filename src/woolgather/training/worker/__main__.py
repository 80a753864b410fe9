"""Starts the program; see the package."""

import sys

from woolgather.core.children import watch_parent

if __name__ == "__main__":
    watch_parent()  # before the imports below, which take seconds
    from woolgather.training.worker.program import main

    sys.exit(main(sys.argv[1:]))
