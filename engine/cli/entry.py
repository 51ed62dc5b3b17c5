"""Where the command line begins: the list of commands, and what becomes of an error.

Invariant: `main` always ends with SystemExit, and only `--debug` shows a traceback.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib
import inspect
import io
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from engine import __version__
from engine.cli.options import sentence
from engine.errors import AnlassError
from engine.extras import not_installed

STATUS_OURS = 70
"""A mistake of ours (`EX_SOFTWARE`): never the user's."""
STATUS_INTERRUPTED = 130
STATUS_PIPE = 141
_OUTPUT_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EIO}

COMMANDS = {
    "demo": ("engine.cli.roles.run:demo", "Run a simulated shop through the engine."),
    "init": ("engine.cli.author.scaffold:init", "Make a small project."),
    "run": ("engine.cli.roles.run:run", "Run a project: everything in one process."),
    "check": ("engine.cli.author.checking:check", "Check workflows, policy, tests and templates."),
    "test": ("engine.cli.author.checking:test", "Run the tests beside the workflows."),
    "simulate": ("engine.cli.author.checking:simulate", "Play an events file in virtual time."),
    "worker": ("engine.cli.roles.roles:worker", "Evaluate workflows on Kafka, as one of any number of workers."),
    "dispatcher": ("engine.cli.roles.roles:dispatcher", "Send what was decided on Kafka, as one of any number."),
    "collector": ("engine.cli.roles.roles:collector", "Take events in over HTTP and put them on Kafka."),
    "sink": ("engine.cli.roles.roles:sink", "Write what happened from Kafka into a database."),
    "deploy": ("engine.cli.operate.deploy:deploy", "Publish definitions and templates to the running engine."),
    "emit": ("engine.cli.operate.emit:emit", "Send events from a file."),
    "send-test": ("engine.cli.author.send_test:send_test", "Send one real message."),
    "key": ("engine.cli.operate.key:key", "Make and list the keys that events are sent with."),
    "dkim-key": ("engine.cli.author.dkim:dkim_key", "Make a key that signs mail, and its DNS record."),
    "explain": ("engine.cli.author.explain:explain", "Say why a customer did or did not get a workflow's messages."),
    "show": ("engine.cli.operate.show:show", "Show a customer, messages or a workflow."),
    "broadcast": ("engine.cli.operate.broadcast:broadcast", "Show how far newsletters have got."),
    "pause": ("engine.cli.operate.steer:pause", "Pause a workflow."),
    "resume": ("engine.cli.operate.steer:resume", "Let a paused workflow go on."),
    "held": ("engine.cli.operate.held:held", "List what a restored copy holds; let it go, or drop it."),
    "flush": ("engine.cli.operate.held:flush", "End pauses and backoffs of delivery."),
    "retry": ("engine.cli.operate.steer:retry", "Let failed enrollments move again."),
    "replay": ("engine.cli.operate.steer:replay", "List dead letters, or put them back."),
    "task": ("engine.cli.operate.task:task", "List and complete people's tasks."),
    "letters": ("engine.cli.operate.letters:letters", "List and close batches of letters."),
    "audit": ("engine.cli.operate.audit:audit", "List and check what operators did."),
    "consent": ("engine.cli.people.consent:consent", "Show, import, give or take back consent."),
    "suppression": (
        "engine.cli.operate.suppression:suppression",
        "List, add, lift, import and export addresses that nothing is sent to.",
    ),
    "bounces": ("engine.cli.operate.bounces:bounces", "Say how returned mails are understood."),
    "export": ("engine.cli.people.privacy:export", "Export all that is kept about a customer."),
    "erase": ("engine.cli.people.privacy:erase", "Erase a customer for good."),
}
"""Name → where it is and what the list says, in the order in which a newcomer needs them."""

_EPILOG = """\b
A first campaign:
  anlass init shop && cd shop
  anlass run                          (leave it running)
  anlass emit examples/events.jsonl   (in another terminal)
  anlass show customer ana
"""


class _Debug:
    """Whether `--debug` was given, before or after the command."""

    wanted = False


def _debug_option() -> click.Option:
    def note(context: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's hook
        if value:
            context.ensure_object(_Debug).wanted = True

    return click.Option(
        ["--debug"], is_flag=True, expose_value=False, callback=note, help="Show tracebacks and debug log lines."
    )


class Commands(click.Group):
    """The commands, imported when they are asked for, with a suggestion for a name that nobody has."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        known = COMMANDS.get(cmd_name)
        if known is None:
            return None
        module, _, attribute = known[0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        _complete(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and name not in COMMANDS:
            near = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
            hint = f"Did you mean `anlass {near[0]}`?" if near else "`anlass --help` lists them."
            raise click.UsageError(f"There is no command {name!r}. {hint}")
        return super().resolve_command(ctx, args)


def _complete(command: click.Command) -> None:
    """Gives a command what all have: `--debug`, and examples that are not wrapped in its help."""
    command.help = inspect.cleandoc(command.help or "").replace("\n\nExamples:\n", "\n\n\b\nExamples:\n")
    if not any(parameter.name == "debug" for parameter in command.params):
        command.params.append(_debug_option())
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            _complete(inner)


@click.group(
    cls=Commands,
    params=[_debug_option()],
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, "-V", "--version", message="anlass %(version)s")
def anlass() -> None:
    """Turn customer touchpoints into the right message: collect events, run lifecycle workflows, send what they decide."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line with `arguments` (without the program's name), by default the process's own."""
    os.umask(os.umask(0o077) | 0o077)  # whatever is written may hold customers' data
    debug = _Debug()
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the one who called
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - for the life of the process
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a letter shows a question mark
    status = _run(sys.argv[1:] if arguments is None else list(arguments), debug)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = STATUS_PIPE
        _drop_output()
    except OSError as error:
        complain(_not_written(error))
        status = status or 1
        _drop_output()
    sys.exit(status)


def _not_written(error: OSError) -> str:
    return f"Nothing can be written: {error.strerror}. Make room on the disk of the project, or where the output goes."


def _run(arguments: list[str], debug: _Debug) -> int:
    try:
        answer: Any = anlass.main(arguments, prog_name="anlass", standalone_mode=False, obj=debug)
        return answer if isinstance(answer, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 2
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx is not None else "anlass"
        complain(f"{sentence(error.format_message())} See `{path} --help`.")
        return 2
    except click.ClickException as error:
        complain(sentence(error.format_message()))
        return 2
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except (click.Abort, KeyboardInterrupt):
        return STATUS_INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return STATUS_PIPE
    except OSError as error:
        if error.errno not in _OUTPUT_ERRORS:
            return _ours(error, debug)
        _drop_output()
        complain(_not_written(error))
        return 1
    except AnlassError as error:
        return _told(error, debug)
    except ImportError as error:
        missing = not_installed(error)
        return _ours(error, debug) if missing is None else _told(missing, debug)
    except Exception as error:  # noqa: BLE001 - the last line of defence
        return _ours(error, debug)


def _told(error: AnlassError, debug: _Debug) -> int:
    if debug.wanted:
        traceback.print_exc()
    complain(str(error))
    return error.status


def _ours(error: Exception, debug: _Debug) -> int:
    """Says that we made a mistake, and how to see which."""
    if debug.wanted:
        traceback.print_exception(error)
    complain(
        f"Anlass made a mistake ({type(error).__name__}: {error}). Run it again with --debug and report what it shows."
    )
    return STATUS_OURS


def complain(text: str) -> None:
    """Print to standard error, as every error is printed."""
    with contextlib.suppress(BrokenPipeError):
        click.echo(f"anlass: {text}", err=True)


def _drop_output() -> None:
    """Nobody reads any more: what is still buffered must not complain while the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
