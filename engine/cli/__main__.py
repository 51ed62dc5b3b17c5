"""`python -m engine.cli` is `anlass`. Invariant: nothing but the call."""

from engine.cli.entry import main

main()
