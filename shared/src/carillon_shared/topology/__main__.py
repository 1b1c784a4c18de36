"""`python -m carillon_shared.topology asyncapi`: print the broker's interface, as it is committed."""

import sys

from carillon_shared.topology.asyncapi import asyncapi_document
from carillon_shared.topology.carillon import carillon_topology
from carillon_shared.topology.yaml_text import yaml_text

_WRONG_USE = 2


def main(arguments: list[str]) -> int:
    """Do what the arguments say; return the exit code."""
    if arguments != ["asyncapi"]:
        sys.stderr.write("usage: python -m carillon_shared.topology asyncapi\n")
        return _WRONG_USE
    sys.stdout.write(yaml_text(asyncapi_document(carillon_topology())))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
