"""`minewarden probe`, `scan` and `diagnostics` as a person runs them: output, exit codes, nothing changed."""

import json
import socket
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from firmware_adapters.discovery import diagnostics_cli, probe_cli, scan_cli
from firmware_adapters.discovery.table import from_csv
from firmware_adapters.miners.axeos.emulator_traps import Traps
from support.mixed_site import FIRMWARES, PASSWORD
from support.probe_fleet import Emulated
from support.probe_thread import fleet_on_thread

NET = "127.87.0"
Fleet = dict[str, Emulated]


@pytest.fixture(scope="module")
def machines() -> Iterator[Fleet]:
    with fleet_on_thread(NET) as made:
        yield made


@pytest.fixture(autouse=True)
def _nothing_was_changed(machines: Fleet) -> Iterator[None]:
    """Whatever a test of this file runs: not one write on any device."""
    yield
    assert [command for one in machines.values() for command in one.machine.commands] == []


@pytest.fixture
def password(tmp_path: Path) -> str:
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n")
    return str(path)


def scanning(machines: Fleet, *more: str) -> list[str]:
    port = next(iter(machines.values())).port
    return [f"{NET}.0/28", "--port", str(port), "--connect-timeout", "0.5", *more]


# ---------------------------------------------------------------- probe


def test_probe_reads_one_machine(machines: Fleet, password: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert probe_cli.main([machines["vnish"].place, "--password-file", password]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"{machines['vnish'].place}: Antminer S21 Pro, Vnish 1.2.7 (vnish)\n")
    for part in (
        "because the front page says",
        "hashing               yes",
        "186 TH/s",
        "15 J/TH",
        "boards:",
        "pools:",
    ):
        assert part in shown


def test_probe_as_json(machines: Fleet, password: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert probe_cli.main([machines["vnish"].place, "--password-file", password, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["identification"]["adapter"] == "vnish"
    assert told["sample"]["is_hashing"] is True
    assert told["sample"]["preset_running"] == "2800"
    assert told["sample"]["efficiency_j_per_th"] == 15.0
    assert len(told["boards"]) == 3
    assert told["pools"][0]["url"] == "stratum+tcp://pool.invalid:3333"


def test_probe_with_a_wrong_password_is_1(machines: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    assert probe_cli.main([machines["braiins"].place, "--password", "wrong"]) == 1
    assert "! the password was refused; it was tried once" in capsys.readouterr().out


def test_probe_of_nobody_is_3(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.87.1.1", 0))
        place = f"127.87.1.1:{taken.getsockname()[1]}"
        assert probe_cli.main([place, "--timeout", "0.5"]) == 3
    assert capsys.readouterr().out.startswith(f"{place}: nothing answers; --adapter names one\n")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["10.0.0.300"], "is no host"),
        (["127.87.0.1:x"], "the port must be 1 to 65535"),
        (["127.87.0.1", "--adapter", "vinish"], "no miner firmware named 'vinish'"),
        (["127.87.0.1", "--timeout", "0"], "--timeout 0: expected"),
        (["127.87.0.1", "--password-file", "/nowhere/at/all"], "/nowhere/at/all: cannot be read"),
        (["127.87.0.1", "--user", "root"], "--user needs --password"),
        (["127.87.0.1", "--again", "-1"], "--again -1: expected"),
        (["127.87.0.1", "--site", "/nowhere/site.toml"], "cannot be read"),
    ],
)
def test_bad_input_of_probe_is_2_with_a_sentence(
    argv: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert probe_cli.main(argv) == 2
    assert says in capsys.readouterr().err


def test_probe_leaves_the_hosts_of_a_running_site_alone(
    machines: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = machines["vnish"]
    entry = (
        f'id = "m-1"\nkind = "miner"\nadapter = "vnish"\nhost = "{one.host}"\nport = {one.port}\nzone = "h"\n'
    )
    (tmp_path / "site.toml").write_text(f'[paths]\noperator_socket = "o.sock"\n[[devices]]\n{entry}')
    monkeypatch.chdir(tmp_path)
    argv = [one.place, "--site", "site.toml"]
    assert probe_cli.main(argv) == 0, "no guardian runs"
    with socket.socket(socket.AF_UNIX) as guardian:
        guardian.bind("o.sock")
        guardian.listen()
        capsys.readouterr()
        assert probe_cli.main(argv) == 2
        assert "a guardian runs site.toml, and it alone talks to its devices" in capsys.readouterr().err
        assert scan_cli.main(scanning(machines, "--site", "site.toml")) == 2
        assert diagnostics_cli.main([one.place, "--out", "d", "--site", "site.toml"]) == 2
        assert probe_cli.main([machines["axeos"].place, "--site", "site.toml"]) == 0, "not one of its hosts"


# ---------------------------------------------------------------- scan


def test_scan_proposes_a_site_file_and_a_table(
    machines: Fleet, tmp_path: Path, password: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out, table = tmp_path / "found.toml", tmp_path / "found.csv"
    argv = scanning(machines, "--password-file", password, "--out", str(out), "--csv", str(table))
    assert scan_cli.main(argv) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert f"14 of 14 asked, {len(FIRMWARES)} machines" in said.err
    devices = tomllib.loads(out.read_text())["devices"]
    assert [one["adapter"] for one in devices] == list(FIRMWARES)
    assert [one["mac"] for one in devices] == [one.machine.seen.mac.lower() for one in machines.values()]
    assert [one.adapter for one in from_csv(table.read_text("utf-8"), "t")] == list(FIRMWARES)
    assert scan_cli.main(argv) == 2
    assert "is there already; nothing is written over it" in capsys.readouterr().err


def test_a_table_comes_back_as_a_site_file(
    machines: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "t.csv"
    table.write_text(
        "id,host,port,adapter,mac,zone,rack,slot\nm-9,10.0.1.9,80,vnish,aabbcc000009,hall,A1,4\n"
    )
    assert scan_cli.main(["--import", str(table)]) == 0
    (device,) = tomllib.loads(capsys.readouterr().out)["devices"]
    assert (device["id"], device["rack"], device["slot"], device["zone"]) == ("m-9", "A1", 4, "hall")
    table.write_text(
        "id,host,port,adapter,mac\n,10.0.1.9,80,vnish,aabbcc000009\n,10.0.1.8,80,vnish,aabbcc000009\n"
    )
    assert scan_cli.main(["--import", str(table)]) == 2
    assert f"{table}:3: MAC aa:bb:cc:00:00:09 stands in line 2 already" in capsys.readouterr().err


def test_a_second_scan_tells_what_changed(
    machines: Fleet, tmp_path: Path, password: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.toml"
    assert scan_cli.main(scanning(machines, "--password-file", password, "--out", str(out))) == 0
    text = out.read_text().replace("[[devices]]\n", '[[devices]]\nzone = "hall"\n')
    again = scanning(machines, "--password-file", password, "--site", str(out))
    out.write_text(text)
    capsys.readouterr()
    assert scan_cli.main(again) == 0
    assert f"nothing changed: {len(FIRMWARES)} machines stand" in capsys.readouterr().out
    first, second = machines[FIRMWARES[0]], machines[FIRMWARES[1]]
    moved = text.replace(f'host = "{first.host}"', f'host = "{NET}.14"')
    replaced = moved.replace(second.machine.seen.mac.lower(), "02:00:00:00:00:99").replace(
        f'serial_number = "{second.machine.seen.serial}"', ""
    )
    out.write_text(replaced)
    assert scan_cli.main(again) == 1
    said = capsys.readouterr().out
    assert f"moved: m-001 from {NET}.14:{first.port} to {first.place} (same mac)" in said
    assert f"missing: m-002 at {second.place} 02:00:00:00:00:99" in said
    assert f"new: {second.place}" in said
    (new,) = tomllib.loads("\n".join(line for line in said.splitlines() if ": " not in line or "=" in line))[
        "devices"
    ]
    assert new["id"] not in {f"m-{n:03d}" for n in range(1, len(FIRMWARES) + 1)}


def test_a_scan_whose_password_is_refused_is_1_and_still_tells_what_it_found(
    machines: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scan_cli.main(scanning(machines, "--password", "wrong")) == 1
    told = capsys.readouterr()
    assert "vnish: 1 machine refused the password\n" in told.err
    assert [one["adapter"] for one in tomllib.loads(told.out)["devices"]] == list(FIRMWARES)


def test_a_network_without_miners_is_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert scan_cli.main(["127.87.9.0/30", "--port", "9", "--connect-timeout", "0.3"]) == 3
    assert "nothing answers in 127.87.9.0/30: 2 addresses asked" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "which network?"),
        (["8.8.8.0/24"], "is not a private network"),
        (["10.0.0.0/8"], "one scan asks 65536 at most"),
        (["10.0.1.0/33"], "is no network"),
        (["127.87.0.0/28", "--port", "0"], "--port 0: expected 1 to 65535"),
        (["127.87.0.0/28", "--at-once", "5000"], "--at-once 5000: expected 1 to"),
        (["127.87.0.0/28", "--deadline", "0"], "--deadline 0: expected"),
        (["127.87.0.0/28", "--adapter", "x"], "no miner firmware named 'x'"),
        (["127.87.0.0/28", "--import", "t.csv"], "give one of them"),
        (["--import", "/nowhere/t.csv"], "/nowhere/t.csv: cannot be read"),
    ],
)
def test_bad_input_of_scan_is_2_with_a_sentence(
    argv: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scan_cli.main(argv) == 2
    assert says in capsys.readouterr().err


# ---------------------------------------------------------------- diagnostics


def test_diagnostics_keeps_what_a_machine_says_without_its_secrets(
    machines: Fleet, tmp_path: Path, password: str, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [machines["vnish"].place, "--out", str(tmp_path / "d"), "--password-file", password]
    assert diagnostics_cli.main(argv) == 0
    place = Path(capsys.readouterr().err.removeprefix("saved: ").strip())
    names = {path.name for path in place.iterdir()}
    assert {"summary.json", "status.json", "info.json", "PROVENANCE.toml"} <= names
    summary = json.loads((place / "summary.json").read_bytes())
    assert summary["miner"]["pools"][0]["user"] == "redacted"
    everything = b"".join(path.read_bytes() for path in place.iterdir())
    assert b"site.worker" not in everything
    assert tomllib.loads((place / "PROVENANCE.toml").read_text())["firmware"] == "Vnish 1.2.7"


def test_diagnostics_asks_for_chips_and_every_log_and_leaves_no_secret_in_them(
    machines: Fleet, tmp_path: Path, password: str, capsys: pytest.CaptureFixture[str]
) -> None:
    one = machines["vnish"]

    def gossip(*_: object) -> bytes:
        return f"pool 0: site.worker joined, pass: {PASSWORD}\nchain 1 lost\n".encode()

    one.emulator.log = gossip  # type: ignore[attr-defined] # the emulator of VNish has logs
    try:
        argv = [one.place, "--out", str(tmp_path / "d"), "--password-file", password]
        assert diagnostics_cli.main(argv) == 0
    finally:
        del one.emulator.log  # type: ignore[attr-defined] # the class has its own
    place = Path(capsys.readouterr().err.removeprefix("saved: ").strip())
    chips = json.loads((place / "chains.json").read_bytes())
    assert chips[0]["chips"], "where this version has them"
    logs = sorted(path for path in place.iterdir() if path.name.startswith("logs_"))
    assert [path.name for path in logs] == [
        f"logs_{name}.raw" for name in ("api", "autotune", "messages", "miner", "status", "system")
    ]
    for log in logs:
        assert log.read_text() == "pool 0: redacted joined, pass: redacted\nchain 1 lost\n"
    everything = b"".join(path.read_bytes() for path in place.iterdir())
    assert PASSWORD.encode() not in everything
    assert b"site.worker" not in everything


def test_a_probe_sums_its_chips_up_and_leaves_its_logs_alone(
    machines: Fleet, password: str, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [machines["vnish"].place, "--password-file", password]
    assert probe_cli.main([*argv, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["chips"]["at"] is not None
    boards = told["chips"]["boards"]
    assert [one["board"] for one in boards] == sorted(one["index"] for one in told["boards"])
    assert all(one["told"] > 50 for one in boards)
    assert (told["chip_map"], told["log"]) == (None, None)
    assert probe_cli.main([*argv, "--json", "--chips"]) == 0
    every = json.loads(capsys.readouterr().out)["chip_map"]
    assert len(every) == sum(one["told"] for one in boards)


def test_a_firmware_without_chips_says_nothing_of_them(
    machines: Fleet, password: str, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [machines["antminer"].place, "--user", "root", "--password-file", password]
    assert probe_cli.main([*argv, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["chips"] is None
    assert "chips" not in {one["part"] for one in told["not_read"]}


def test_diagnostics_is_for_what_cannot_be_understood(
    machines: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = machines["axeos"]
    one.emulator.traps = Traps(garbage=True)  # type: ignore[attr-defined] # AxeOS has traps
    try:
        argv = [one.place, "--adapter", "axeos", "--timeout", "1"]
        assert diagnostics_cli.main([*argv, "--out", str(tmp_path)]) == 0
        assert probe_cli.main(argv) == 1
    finally:
        one.emulator.traps = Traps()  # type: ignore[attr-defined] # as above
    said = capsys.readouterr()
    assert "sample: malformed: " in said.out
    place = Path(said.err.partition("saved: ")[2].splitlines()[0])
    assert any(path.suffix == ".raw" for path in place.iterdir()), "nonsense is kept as it came"


def test_diagnostics_of_nobody_is_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert diagnostics_cli.main(["127.87.1.2:9", "--out", str(tmp_path), "--timeout", "0.3"]) == 3
    assert "nothing was answered, so nothing is saved" in capsys.readouterr().err
