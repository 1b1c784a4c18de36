"""What readiness depends on: the database. With the broker away events are still taken (promise P1)."""

from carillon_shared.telemetry.health import Check
from starlette.applications import Starlette

from carillon_api.services import Services

_NEEDED = "SELECT carillon.partition_exists_for(now())"


class NotMigratedError(Exception):
    """The database cannot take events at this moment."""


def readiness(app: Starlette) -> list[Check]:
    """Return the checks of `/readyz`, for an application that may not have been started yet."""

    def services() -> Services:
        found: Services = app.state.services
        return found

    async def running() -> None:
        await services().shutdown.ready()

    async def database() -> None:
        if not await services().pool.fetchval(_NEEDED, timeout=1.5):
            raise NotMigratedError("there is no partition for today: run `carillon db migrate`")

    async def broker() -> None:
        await services().broker.ready()

    return [
        Check("running", running),
        Check("database", database),
        Check("broker", broker, required=False),
    ]
