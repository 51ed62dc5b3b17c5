"""`python -m anlass`: the command line, where its script is not on the path. Invariant: it is `anlass`, and nothing else."""

from engine.cli import main

if __name__ == "__main__":
    main()
