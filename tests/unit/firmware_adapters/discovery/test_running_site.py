"""A running guardian's hosts are left alone."""

import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from firmware_adapters.discovery.running_site import load, refusal
from shared.errors import ConfigError

TEXT = """
[paths]
operator_socket = "run/operator.sock"
guardian_socket = "run/guardian.sock"
[[devices]]
id = "m-1"
kind = "miner"
adapter = "vnish"
host = "10.0.1.7"
port = 80
zone = "hall"
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    path = tmp_path / "site.toml"
    path.write_text(TEXT)
    return path


@contextmanager
def listening(site: Path, name: str = "operator.sock") -> Iterator[None]:
    with closing(socket.socket(socket.AF_UNIX)) as server:
        # A relative name, because a socket's path may have 107 characters only.
        here = Path.cwd()
        os.chdir(site.parent)
        try:
            server.bind(f"run/{name}")
        finally:
            os.chdir(here)
        server.listen()
        yield


def test_a_site_whose_guardian_does_not_run_may_be_asked(site: Path) -> None:
    assert refusal(load(site), frozenset({"10.0.1.7"})) is None


@pytest.mark.parametrize("name", ["operator.sock", "guardian.sock"])
def test_a_running_sites_hosts_are_refused_and_others_are_not(
    site: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(site.parent)
    with listening(Path("site.toml").resolve(), name):
        known = load(Path("site.toml"))
        why = refusal(known, frozenset({"10.0.1.7", "10.0.1.8"}))
        assert why is not None
        assert why.startswith("10.0.1.7: a guardian runs site.toml, and it alone talks to its devices")
        assert refusal(known, frozenset({"10.0.1.8"})) is None


def test_a_socket_that_nobody_listens_on_any_more_is_no_guardian(site: Path) -> None:
    with listening(site):
        pass
    assert (site.parent / "run" / "operator.sock").exists()
    assert not load(site).is_running


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a = ", "no site file"),
        ("[[devices]]\nid = 1\n", "no site file"),
        ("[paths]\noperator_socket = 1\n", "no site file"),
    ],
)
def test_what_is_no_site_file_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says):
        load(path)


def test_a_site_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path / "none.toml")


def test_a_host_written_as_a_name_is_known_by_its_address_too(tmp_path: Path) -> None:
    """Else a scan of addresses would log in on machines that are the guardian's."""
    path = tmp_path / "site.toml"
    path.write_text(
        '[[devices]]\nid = "m-1"\nkind = "miner"\nadapter = "vnish"\nhost = "localhost"\nzone = "a"\n'
        '[[devices]]\nid = "s-1"\nkind = "probe"\nadapter = "modbus-rtu"\nhost = "/dev/ttyS0"\nzone = "a"\n'
    )
    known = load(path)
    assert known.names == {"localhost": "127.0.0.1"}
    assert {"localhost", "127.0.0.1"} <= known.hosts
