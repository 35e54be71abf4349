"""A whole certified fleet: authority, mosquitto and cloud made by the commands that a person would use."""

import contextlib
import io
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cloud import cli
from support.cloud import AUTH, TOKEN, configure
from support.identity import TlsBroker
from support.ports import free_port

PYTHON = [sys.executable, "-P", "-m"]


class Fleet:
    """`cloud(...)` runs a command of `minewarden cloud`, `enroll(...)` starts `minewarden enroll`."""

    def __init__(self, folder: Path, *, site_days: int = 90) -> None:
        self.folder = folder
        self.http_port = free_port()
        self.keys = folder / "keys"
        self.broker = _Broker(folder)
        self.config = self._configure(site_days)
        self.log = folder / "cloud.log"
        self.process: subprocess.Popen[bytes] | None = None

    def _configure(self, site_days: int) -> Path:
        path = configure(self.folder, broker_port=self.broker.cloud_port, http_port=self.http_port)
        text = path.read_text().replace('host = "127.0.0.1"\nport', 'host = "localhost"\nport')
        text = text.replace(
            "[keys]",
            'ca_file = "keys/ca.crt"\ncert_file = "keys/ingest.crt"\nkey_file = "keys/ingest.key"\n'
            'command_cert_file = "keys/command.crt"\ncommand_key_file = "keys/command.key"\n[keys]',
        )
        text += (
            f'[identity]\nca_cert = "ca/ca.crt"\nca_key = "ca/ca.key"\nbroker_dir = "rules"\n'
            f'broker_pid_file = "mosquitto.pid"\nbroker_log = "mosquitto.log"\nsite_days = {site_days}\n'
        )
        path.write_text(text)
        return path

    def cloud(self, *words: str) -> tuple[int, str, str]:
        """(exit code, output, complaints)."""
        out, complaints = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(complaints):
            code = cli.main([*words, "--config", str(self.config)])
        return code, out.getvalue(), complaints.getvalue()

    def must(self, *words: str) -> str:
        """The output of a command that must succeed."""
        code, out, complaints = self.cloud(*words)
        assert code == 0, complaints
        return out

    def enroll(self, site_file: Path, *words: str) -> "Asking":
        return Asking([*PYTHON, "shared.cli", "enroll", "--site", str(site_file), *words])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/api/v1{path}", timeout=10) as reply:
            return json.loads(reply.read())

    def health(self) -> Any:
        """`/health/ready`"""
        with urllib.request.urlopen(f"{self.url}/health/ready", timeout=10) as reply:
            return json.loads(reply.read())

    def post(self, path: str, body: object) -> Any:
        request = urllib.request.Request(
            f"{self.url}/api/v1{path}",
            data=json.dumps(body).encode(),
            headers={**AUTH, "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return json.loads(reply.read())
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{path}: {error.code} {error.read().decode()}") from None

    def start(self, *, verbose: bool = False) -> None:
        """Authority, certificates, broker, cloud."""
        assert TOKEN
        self.must("ca", "init")
        self.must("ca", "issue", "broker", "--host", "localhost", "--out", str(self.keys))
        for role in ("ingest", "command"):
            self.must("ca", "issue", role, "--out", str(self.keys))
        self.must(
            "broker-config",
            "--out",
            str(self.folder),
            "--keys",
            str(self.keys),
            "--no-persistence",
            "--port",
            str(self.broker.site_port),
            "--address",
            "127.0.0.1",
            "--cloud-port",
            str(self.broker.cloud_port),
            "--pid-file",
            str(self.broker.pid_file),
        )
        self.broker.run(self.folder / "minewarden.conf")
        words = ["-v", "-v"] if verbose else []
        command = [*PYTHON, "cloud", *words, "run", "--config", str(self.config)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"}
            )
        while not self._ready():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=0.1)  # ends early only where the process does
                raise AssertionError(self.log.read_text())

    def _ready(self) -> bool:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"{self.url}/health/ready", timeout=5) as reply,
        ):
            return bool(reply.status == 200)
        return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=20)
        self.broker.stop()


class Asking:
    """A `minewarden enroll` that runs."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._seen: list[str] = []

    def fingerprint(self) -> str:
        """What it prints for its person, once the request has reached the cloud."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._seen.append(line)
            if "waits in the cloud" in line:
                return printed_fingerprint("".join(self._seen))
        raise AssertionError("".join(self._seen) + self._process.communicate()[1])

    def end(self) -> tuple[int, str, str]:
        """(exit code, output, complaints)."""
        out, complaints = self._process.communicate(timeout=30)
        return self._process.returncode, "".join(self._seen) + out, complaints


def printed_fingerprint(out: str) -> str:
    return next(line.split()[1] for line in out.splitlines() if line.startswith("fingerprint"))


class _Broker(TlsBroker):
    """mosquitto under the file that `broker-config` wrote, instead of one of the builder's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.chmod(0o755)
        self.site_port, self.cloud_port = free_port(), free_port()
        self.pid_file = folder / "mosquitto.pid"
        self.log = folder / "mosquitto.log"
        """The cloud empties it once it runs."""
        self.complaints = folder / "mosquitto.err"
        self._process = None

    def run(self, conf: Path) -> None:
        # To standard error as well, for whoever wants to see what the cloud takes away.
        conf.write_text(conf.read_text() + "user root\nlog_dest stderr\n")
        self.launch(conf)


@contextmanager
def fleet(folder: Path, *, site_days: int = 90, verbose: bool = False) -> Iterator[Fleet]:
    running = Fleet(folder, site_days=site_days)
    try:
        running.start(verbose=verbose)
        yield running
    finally:
        running.stop()
