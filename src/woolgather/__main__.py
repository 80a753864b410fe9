"""`python -m woolgather` is the command `woolgather`, for where its script is not on the path."""

from __future__ import annotations

from woolgather.cli import main

if __name__ == "__main__":
    main()
