"""`anlass run` with `[database] synchronous = "full"`, whatever the project says: for comparison only.

Invariant: nothing else differs from `anlass run`.
"""

from __future__ import annotations

import os
import sys

from engine.cli import main


def serve() -> None:
    """Set the variable, and run the command line."""
    os.environ["ANLASS_DATABASE__SYNCHRONOUS"] = "full"
    main(sys.argv[1:])


if __name__ == "__main__":
    serve()
