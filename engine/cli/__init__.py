"""The command line `anlass`: reads arguments, calls what does the work, prints what came of it.

Invariant: a user's mistake is answered by one sentence on standard error and a status (0 fine, 1 the thing checked is wrong,
2 usage or settings, 3 a needed service is unreachable), never by a traceback. Modules of commands import what they need
inside the command, so that `anlass --help` starts fast.
"""

from engine.cli.entry import main

__all__ = ["main"]
