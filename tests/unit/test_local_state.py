"""What the local backend remembers: ports, processes, passwords, places."""

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from carillon_local.places import find_checkout
from carillon_local.ports import HOST, PortHolder, is_free
from carillon_local.secrets import LOGIN_ROLES, load_secrets
from carillon_local.state import LocalState, RunningProcess, StateFile


@pytest.fixture
def holder() -> PortHolder:
    return PortHolder()


def _listening() -> socket.socket:
    server = socket.create_server((HOST, 0))
    server.listen()
    return server


def test_a_preferred_port_is_taken_when_it_is_free(holder: PortHolder) -> None:
    port = holder.pick()
    holder.release()
    assert holder.pick([None, port]) == port
    holder.release()


def test_a_port_in_use_is_passed_over(holder: PortHolder) -> None:
    with _listening() as server:
        taken = server.getsockname()[1]
        assert not is_free(taken)
        assert holder.pick([taken]) != taken
    holder.release()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere ports are picked without being held")
def test_two_starts_at_once_never_get_the_same_port(holder: PortHolder) -> None:
    other = PortHolder()
    port = holder.pick()
    assert other.pick([port]) != port
    holder.release()
    assert other.pick([port]) == port
    other.release()


def test_the_usual_port_comes_before_the_remembered_one(holder: PortHolder) -> None:
    usual, remembered = holder.pick(), holder.pick()
    holder.release()
    wanted = {"api": usual, "amqp": None}
    assert holder.pick_all(wanted, {"api": remembered, "amqp": remembered}) == {
        "api": usual,
        "amqp": remembered,
    }
    holder.release()


def test_state_comes_back_and_is_for_its_owner_only(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "local.json")
    state = LocalState(backend="local", ports={"api": 8080}, supervisor=RunningProcess.of(os.getpid()))
    file.write(state)
    assert file.read() == state
    assert file.read().running
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "{", '{"ports": 3}'])
def test_a_state_that_cannot_be_understood_counts_as_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "local.json"
    path.write_text(content)
    assert StateFile(path).read() == LocalState()


def test_another_process_with_a_remembered_id_is_never_signalled() -> None:
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as stranger:
        remembered = RunningProcess(pid=stranger.pid, started="12")
        assert not remembered.alive
        assert remembered.send(signal.SIGKILL) is False
        assert stranger.poll() is None
        assert RunningProcess.of(stranger.pid).send(signal.SIGKILL) is True
    assert stranger.returncode == -signal.SIGKILL


def test_a_process_that_ended_is_not_alive() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        remembered = RunningProcess.of(process.pid)
        assert remembered.alive
    assert not remembered.alive


def test_passwords_are_made_once_and_are_for_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    first = load_secrets(path)
    assert load_secrets(path) == first
    assert set(first.roles) == set(LOGIN_ROLES)
    passwords = [first.superuser, first.broker, first.whatsapp_access_token, *first.roles.values()]
    assert len(set(passwords)) == len(passwords)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_role_added_later_gets_a_password_and_the_others_keep_theirs(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    first = load_secrets(path)
    fewer = {role: word for role, word in first.roles.items() if role != "carillon_api"}
    path.write_text(first.model_copy(update={"roles": fewer}).model_dump_json())
    again = load_secrets(path)
    assert again.roles.keys() == first.roles.keys()
    assert {role: again.roles[role] for role in fewer} == fewer


def test_the_checkout_is_found_from_a_folder_inside_it(tmp_path: Path) -> None:
    (tmp_path / "deploy" / "local").mkdir(parents=True)
    (tmp_path / "pyproject.toml").touch()
    inside = tmp_path / "services" / "api"
    inside.mkdir(parents=True)
    assert find_checkout(inside) == tmp_path
