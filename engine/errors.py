"""Every error that Anlass raises on purpose, with the sentence a person reads and the way to mend it.

    AnlassError                    one sentence, how to mend it, and the exit status of the command line
    ├── UsageError            (2)  the command line was used wrongly
    ├── SettingsError         (2)  a setting is missing or makes no sense
    ├── ServiceUnreachable    (3)  a service that is needed does not answer
    ├── DefinitionError       (1)  workflows, segments, policy or templates are wrong; holds every problem found
    ├── ExpressionError       (1)  an expression failed on a customer's data: parks that enrollment, nothing else
    ├── LimitExceeded         (1)  one of our bounds was reached; says which and its value
    │   └── Backlog           (1)  too much waits to be evaluated: nothing was taken, intake answers 429
    ├── NotFound              (1)  a customer, message, workflow or file that was asked for is not there
    ├── BadRecord             (1)  an incoming record was refused; `code` and `where` go back to the sender
    └── StorageError          (1)  the store cannot do its work
        ├── StorageFull       (1)  no room on the disk: intake answers 503, nothing is half written
        └── StorageBusy       (1)  another process has the store open

Invariant: whatever reaches a user is one of these, and is printed as a sentence without a traceback. Anything else
that is raised is a mistake of ours.
"""

from collections.abc import Sequence

__all__ = [
    "AnlassError",
    "Backlog",
    "BadRecord",
    "DefinitionError",
    "ExpressionError",
    "LimitExceeded",
    "NotFound",
    "ServiceUnreachable",
    "SettingsError",
    "StorageBusy",
    "StorageError",
    "StorageFull",
    "UsageError",
]


class AnlassError(Exception):
    """Something went wrong that a person can understand.

    `message` is one sentence. `mend` is one sentence that says what to do about it, or None. `status` is the exit
    status of the command line: 1 what was checked is wrong, 2 usage or settings, 3 a needed service is unreachable.
    """

    status: int = 1

    def __init__(self, message: str, *, mend: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.message} {self.mend}" if self.mend else self.message

    def __reduce__(self) -> tuple[object, ...]:
        """Survive pickling (parallel tests, process pools) although the constructors differ."""
        return (_restore, (type(self), self.args, self.__dict__))


def _restore(kind: type[AnlassError], args: tuple[object, ...], fields: dict[str, object]) -> AnlassError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(fields)
    return error


class UsageError(AnlassError):
    """The command line was used wrongly."""

    status = 2


class SettingsError(AnlassError):
    """A setting is missing or makes no sense."""

    status = 2


class ServiceUnreachable(AnlassError):
    """A service that is needed (SMTP server, collector, broker) does not answer."""

    status = 3


class DefinitionError(AnlassError):
    """The project's definitions are wrong.

    `problems` holds all that was found at once; each prints itself as `file:line:column: code message`. They are
    kept as objects because the definition package owns their shape.
    """

    def __init__(self, message: str, *, problems: Sequence[object] = (), mend: str | None = None) -> None:
        super().__init__(message, mend=mend)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *(str(problem) for problem in self.problems)])


class ExpressionError(AnlassError):
    """An expression failed on the data of one customer; the enrollment that asked is parked as `failed`."""


class LimitExceeded(AnlassError):
    """One of the bounds that we put on everything was reached."""

    def __init__(self, message: str, *, limit: int | None = None, mend: str | None = None) -> None:
        super().__init__(message, mend=mend)
        self.limit = limit


class Backlog(LimitExceeded):
    """Too much waits to be evaluated; nothing of what was offered was taken.

    `retry_after_seconds` is when it makes sense to offer it again.
    """

    def __init__(self, message: str, *, retry_after_seconds: int = 1, mend: str | None = None) -> None:
        super().__init__(message, mend=mend)
        self.retry_after_seconds = retry_after_seconds


class NotFound(AnlassError):
    """What was asked for is not there."""


class BadRecord(AnlassError):
    """An incoming record was refused.

    `code` is a stable word for programs, such as `invalid_json` or `missing_user`. `where` points into the record, such
    as `batch[3].timestamp`. Both go back to the sender, together with the message.
    """

    def __init__(self, code: str, message: str, *, where: str | None = None, mend: str | None = None) -> None:
        super().__init__(message, mend=mend)
        self.code = code
        self.where = where


class StorageError(AnlassError):
    """The store cannot do its work."""


class StorageFull(StorageError):
    """There is no room on the disk; nothing was half written."""


class StorageBusy(StorageError):
    """Another process has the store open."""
