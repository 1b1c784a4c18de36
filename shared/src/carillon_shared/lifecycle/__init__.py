"""How a process starts, stops and, in fault tests, dies."""

from carillon_shared.lifecycle.crash import crash_point
from carillon_shared.lifecycle.crash_points import CrashPoint
from carillon_shared.lifecycle.runner import run
from carillon_shared.lifecycle.shutdown import Shutdown, ShuttingDownError

__all__ = ["CrashPoint", "Shutdown", "ShuttingDownError", "crash_point", "run"]
