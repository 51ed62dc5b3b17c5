"""Starts `anlass run` again and again without importing it again: a process that has imported everything and forks.

Invariant: what runs after the fork is the command line itself, in a process of its own that can be killed.

    python -m benchmarks.warm          reads one JSON list of arguments per line, forks, and prints {"pid": N};
                                       {"ended": status} follows when that process is gone.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import threading

IMPORTED = (
    "engine.cli.roles.run",
    "engine.bootstrap",
    "engine.telemetry",
    "uvloop",
    "channels.mail.email",
    "css_inline",
)


def main() -> None:
    """Serves until standard input ends."""
    for name in IMPORTED:
        importlib.import_module(name)
    from engine.cli import main as run  # noqa: PLC0415 - after the parts it imports late

    assert threading.active_count() == 1, "a thread would not survive the fork"
    gc.freeze()
    print(json.dumps({"warm": True}), flush=True)
    for line in sys.stdin:
        arguments = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            run(arguments)
        print(json.dumps({"pid": pid}), flush=True)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"ended": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    main()
