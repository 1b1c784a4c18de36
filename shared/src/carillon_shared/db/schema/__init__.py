"""The schema as SQL files, one folder a migration. Plain SQL is what PostgreSQL's own features are made for:
partitions, policies and set-returning functions have no better notation.
"""

from importlib.resources import files

from sqlalchemy import Connection
from sqlalchemy.util import await_only


def run_scripts(connection: Connection, migration: str) -> None:
    """Run the SQL files of a migration, in the order of their names, inside the open transaction."""
    folder = files(__name__) / migration
    scripts = (script for script in folder.iterdir() if script.name.endswith(".sql"))
    # A script holds many statements, which only the driver's own simple protocol takes in one call.
    driver = connection.connection.driver_connection
    if driver is None:
        raise RuntimeError("the migration's connection is closed")
    # Bodies are checked when they run: functions of the first migration name what later ones add.
    await_only(driver.execute("SET LOCAL check_function_bodies = off"))
    for script in sorted(scripts, key=lambda path: path.name):
        await_only(driver.execute(script.read_text(encoding="utf-8")))
