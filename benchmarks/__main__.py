"""`python -m benchmarks`: every scenario in a process of its own, one after the other. `ONLY=b01,b10` and `SCALE=1` choose.

Invariant: the exit status is that of the worst scenario; one that fails does not keep the others from running.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.harness import machine, scale

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Run the chosen scenarios."""
    only = [name.strip().lower() for name in os.environ.get("ONLY", "").split(",") if name.strip()]
    scenarios = sorted(path.stem for path in HERE.glob("b[0-9][0-9]_*.py"))
    chosen = [name for name in scenarios if not only or name.partition("_")[0] in only]
    if not chosen:
        print(f"ONLY={os.environ.get('ONLY')} names none of {', '.join(scenarios)}", file=sys.stderr)
        return 2
    print(f"machine {json.dumps(machine())} scale {scale():g}", flush=True)
    worst = 0
    for name in chosen:
        status = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=HERE.parent, check=False).returncode
        worst = max(worst, abs(status))
        if status:
            print(f"{name} ended with status {status}", file=sys.stderr)
    return worst


if __name__ == "__main__":
    sys.exit(main())
