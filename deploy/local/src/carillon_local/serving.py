"""The supervisor process of a checkout: brings the platform up, keeps it running, ends it."""

import asyncio
import fcntl
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import asyncpg

from carillon_local.database import prepare_database
from carillon_local.errors import LocalError
from carillon_local.log_view import LogView
from carillon_local.places import Places
from carillon_local.platform import (
    DATABASE,
    MOCK_PROVIDERS,
    SERVICES,
    declare_command,
    migrate_command,
    service_child,
    visible_urls,
)
from carillon_local.ports import PortHolder
from carillon_local.postgres import PostgresServer
from carillon_local.schema_marks import SchemaMarks
from carillon_local.server_children import port_mapper_child, postgres_child, rabbitmq_child
from carillon_local.side_by_side import side_by_side
from carillon_local.start_plan import StartPlan, make_plan
from carillon_local.state import LocalState, RunningProcess, StateFile
from carillon_local.supervisor import Supervisor

_NAMES = ["postgres", "epmd", "rabbitmq", MOCK_PROVIDERS.name, *(service.name for service in SERVICES)]


def serve(places: Places, *, show_logs: bool, say: Callable[[str], None]) -> None:
    """Run the whole platform until a signal ends it; returns when every child has ended.

    Args:
        places: of the checkout.
        show_logs: whether the children's output goes to standard output as well as to their files.
        say: tells the person at the terminal what happens.

    Raises:
        LocalError: when it cannot be brought up; what was started has been ended again.
    """
    file = StateFile(places.state_file)
    with _only_one(places):
        holder = PortHolder()
        before = file.read()
        plan = make_plan(places, environment=os.environ, holder=holder, remembered=before.ports, say=say)
        state = LocalState(
            backend="local",
            ports=dict(plan.addresses.ports),
            urls=plan.urls,
            supervisor=RunningProcess.of(os.getpid()),
        )
        file.write(state)
        try:
            asyncio.run(_supervise(_Run(places, plan, file, state, say), show_logs=show_logs))
        finally:
            file.write(LocalState(ports=state.ports))
            holder.release()


class _Run:
    """One run of the platform: what is planned, and what is remembered about it."""

    def __init__(
        self,
        places: Places,
        plan: StartPlan,
        file: StateFile,
        state: LocalState,
        say: Callable[[str], None],
    ) -> None:
        self.places = places
        self.plan = plan
        self.say = say
        self._file = file
        self._state = state

    def remember_children(self, children: dict[str, int]) -> None:
        """Write down which processes run."""
        known = {name: RunningProcess.of(pid) for name, pid in children.items()}
        self._update(processes=known)

    def remember_ready(self) -> None:
        """Write down that everything is up."""
        self._update(ready=True)

    def _update(self, **changes: object) -> None:
        self._state = self._state.model_copy(update=changes)
        self._file.write(self._state)


async def _supervise(run: _Run, *, show_logs: bool) -> None:
    stream = sys.stdout if show_logs else None
    view = LogView(folder=run.places.logs, stream=stream, names=_NAMES)
    supervisor = Supervisor(view=view, say=run.say, on_change=run.remember_children)
    supervisor.handle_signals()
    coming_up = asyncio.create_task(_bring_up(run, supervisor))
    told_to_stop = asyncio.create_task(supervisor.until_stopped())
    try:
        await asyncio.wait({coming_up, told_to_stop}, return_when=asyncio.FIRST_COMPLETED)
        if coming_up.done():
            coming_up.result()
            run.remember_ready()
            if show_logs:
                run.say(f"The platform is ready: {_addresses(run)}; Ctrl-C ends it")
            await told_to_stop
    finally:
        for task in (coming_up, told_to_stop):
            task.cancel()
        await asyncio.gather(coming_up, told_to_stop, return_exceptions=True)
        await supervisor.stop()


def _addresses(run: _Run) -> str:
    return ", ".join(f"{name} {url}" for name, url in visible_urls(run.plan.addresses.ports).items())


async def _bring_up(run: _Run, supervisor: Supervisor) -> None:
    """Bring up database and broker side by side, then the services."""
    addresses = run.plan.addresses
    mocks = [service_child(MOCK_PROVIDERS, addresses)]
    await side_by_side(
        _bring_up_database(run, supervisor),
        _bring_up_broker(run, supervisor),
        supervisor.start(mocks),
    )
    run.say("Starting the services")
    await supervisor.start([service_child(service, addresses) for service in SERVICES])


async def _bring_up_database(run: _Run, supervisor: Supervisor) -> None:
    if run.plan.postgres is None:
        run.say("Using the database of CARILLON_DATABASE_URL")
    else:
        _marks_of(run.plan.postgres).check()
        run.say("Starting PostgreSQL")
        await supervisor.start([postgres_child(run.plan.postgres)])
        await _prepare_database(run, run.plan.postgres)
    run.say("Bringing the database's tables up to date")
    await supervisor.run_step("migrate", migrate_command(run.plan.addresses))
    if run.plan.postgres is not None:
        _marks_of(run.plan.postgres).write()


def _marks_of(server: PostgresServer) -> SchemaMarks:
    return SchemaMarks(server.folder, server.account)


async def _prepare_database(run: _Run, server: PostgresServer) -> None:
    try:
        await prepare_database(server.superuser_url, DATABASE, run.plan.addresses.secrets)
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        raise LocalError(
            f"PostgreSQL refuses the password in {run.places.secrets_file}, which is not the one its data in "
            f"{run.places.servers} was made with: put the old file back, or remove both to start empty",
        ) from error
    except (asyncpg.PostgresError, OSError) as error:
        raise LocalError(f"The database could not be prepared: {error}") from error


async def _bring_up_broker(run: _Run, supervisor: Supervisor) -> None:
    if run.plan.rabbitmq is None:
        run.say("Using the broker of CARILLON_BROKER_URL")
    else:
        run.say("Starting RabbitMQ (about five seconds)")
        await supervisor.start([port_mapper_child(run.plan.rabbitmq)])
        await supervisor.start([rabbitmq_child(run.plan.rabbitmq)])
    run.say("Declaring exchanges and queues")
    await supervisor.run_step("declare", declare_command(run.plan.addresses))


@contextmanager
def _only_one(places: Places) -> Iterator[None]:
    """Hold the checkout's lock; the kernel lets go of it when this process ends, however it ends.

    Raises:
        LocalError: when another supervisor of this checkout holds it.
    """
    descriptor = os.open(places.state / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise LocalError("The platform of this checkout is running already; `make down` ends it") from None
    try:
        yield
    finally:
        os.close(descriptor)
