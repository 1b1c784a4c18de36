"""How a command ends when it does not end well."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    FAILED = 1
    WRONG_USE = 2
    NOT_REACHABLE = 3
    NOTHING_MATCHED = 4


class CommandError(Exception):
    """Ends the command; the text is a sentence for the person at the terminal."""

    code = ExitCode.FAILED


class WrongUseError(CommandError):
    """What was given cannot be meant."""

    code = ExitCode.WRONG_USE


class NotReachableError(CommandError):
    """The API, the database or the broker does not answer."""

    code = ExitCode.NOT_REACHABLE


class NothingMatchedError(CommandError):
    """There is no such thing."""

    code = ExitCode.NOTHING_MATCHED


def describe(error: Exception) -> str:
    """Return an error's text, or its kind when it has none."""
    return str(error) or type(error).__name__
