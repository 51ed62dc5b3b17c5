"""`python -m engine.cli` is `anlass`. Invariant: nothing but the call."""

from engine.cli.entry import main

if __name__ == "__main__":
    main()
