"""`python -m engine.demo [SECONDS]`: the demo without the command line around it."""

import os
import sys

from engine.demo import run

if __name__ == "__main__":
    os.umask(os.umask(0o077) | 0o077)  # as the command line does
    sys.exit(run(float(sys.argv[1]) if len(sys.argv) > 1 else 30.0))
