"""`anlass run` with `synchronous = FULL`, which no setting asks for: for comparison only.

Invariant: nothing else differs from `anlass run`.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

from engine.bootstrap import parts
from engine.cli import main
from engine.runtimes.embedded import Options


def serve() -> None:
    """Replace the options that the bootstrap builds, and run the command line."""
    full: Any = functools.partial(Options, synchronous="FULL")
    vars(parts)["Options"] = full
    main(sys.argv[1:])


if __name__ == "__main__":
    serve()
