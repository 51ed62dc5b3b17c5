"""The error tree: what is drawn is what is there."""

import inspect
import pickle
import re

import pytest

from engine import errors
from engine.errors import AnlassError, BadRecord, DefinitionError, LimitExceeded

TREE = [name for name in errors.__all__ if name != "AnlassError"]


def _drawn() -> dict[str, tuple[int, str]]:
    """Each drawn error with its status and its parent, read from the picture's indentation."""
    drawn: dict[str, tuple[int, str]] = {}
    parents = {0: "AnlassError"}
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r" {4}([│ ]*)[├└]── (\w+) +\((\d)\)", line):
            depth = len(found[1]) // 4
            drawn[found[2]] = (int(found[3]), parents[depth])
            parents[depth + 1] = found[2]
    return drawn


def test_the_picture_shows_every_error_with_its_status_and_parent() -> None:
    """The tree in the module's docstring is the tree of the classes, and all of it is exported."""
    real = {
        name: (error.status, error.__mro__[1].__name__)
        for name, error in vars(errors).items()
        if inspect.isclass(error) and issubclass(error, AnlassError) and error is not AnlassError
    }
    assert _drawn() == real
    assert sorted(real) == sorted(TREE)


def test_an_error_reads_as_a_sentence_with_its_mend() -> None:
    """What a user sees is the message, then what to do."""
    assert str(AnlassError("The store is gone.", mend="Run `anlass init`.")) == "The store is gone. Run `anlass init`."
    assert str(AnlassError("The store is gone.")) == "The store is gone."


def test_a_definition_error_shows_all_its_problems() -> None:
    """Every problem gets a line of its own."""
    error = DefinitionError("2 problems.", problems=["a.yaml:1:2: E1 first", "a.yaml:3:4: E2 second"])
    assert str(error).splitlines() == ["2 problems.", "a.yaml:1:2: E1 first", "a.yaml:3:4: E2 second"]


@pytest.mark.parametrize(
    "error",
    [
        AnlassError("a", mend="b"),
        BadRecord("missing_user", "No user.", where="batch[3]"),
        DefinitionError("1 problem.", problems=["x"]),
        LimitExceeded("Too many.", limit=100),
    ],
)
def test_errors_survive_the_way_between_processes(error: AnlassError) -> None:
    """An error that was raised in another process keeps its fields."""
    twin = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(twin) is type(error)
    assert vars(twin) == vars(error)
    assert str(twin) == str(error)
