"""The `carillon` command."""

import sys

from carillon_local.errors import LocalError

from carillon_cli.app import app
from carillon_cli.failures import CommandError, ExitCode
from carillon_cli.output import tell


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Returns the exit code: 0 done, 1 failed, 2 wrong use, 3 not reachable, 4 no match."""
    try:
        app(args=arguments, prog_name="carillon")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitCode.FAILED if end.code else ExitCode.DONE
    except CommandError as error:
        tell(str(error))
        return error.code
    except LocalError as error:
        tell(str(error))
        return ExitCode.FAILED
    except KeyboardInterrupt:
        return ExitCode.FAILED
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
