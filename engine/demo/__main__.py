"""`python -m engine.demo [SECONDS]`: the demo without the command line around it."""

import sys

from engine.demo import run

if __name__ == "__main__":
    sys.exit(run(float(sys.argv[1]) if len(sys.argv) > 1 else 30.0))
