"""install.sh in a copy-on-write view of this machine's root (a mount namespace of its own).

Not verified here: a booted systemd. Users, folders, virtual environment, units, upgrade, roll-back and
uninstall are real; whatever is written goes to a temporary layer and is gone afterwards. The cloud's part of
docs/install.md is run word for word, with the stand-ins that are listed at `STAND_INS`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
PREPARE = """
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/up" "$1/work" "$1/root"
mount -t overlay overlay -o lowerdir=/,upperdir="$1/up",workdir="$1/work" "$1/root"
mount --rbind /dev "$1/root/dev"
mount -t proc proc "$1/root/proc"
rm -rf "$1/root/run/systemd" "$1/root/etc/minewarden" "$1/root/opt/minewarden" "$1/root/var/lib/minewarden"
chmod a+x "$1/root/root" 2>/dev/null || true
exec chroot "$1/root" bash -euo pipefail -c "$2"
"""


def _overlay_works(folder: Path) -> str | None:
    if os.geteuid() != 0:
        return "needs root for a mount namespace"
    if shutil.which("unshare") is None:
        return "unshare is not installed"
    done = _in_copy(folder, "true")
    return None if done.returncode == 0 else f"no overlay file system here: {done.stderr.strip()[-120:]}"


def _in_copy(folder: Path, script: str, *apart: str) -> subprocess.CompletedProcess[str]:
    """`apart`: further namespaces of its own, as options of unshare."""
    folder.mkdir(exist_ok=True)
    command = ["unshare", "--mount", "--pid", *apart, "--fork", "bash", "-c", PREPARE, "prepare"]
    command += [str(folder), script]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=420)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two versions of our wheel and everything that `[edge]` needs."""
    folder = tmp_path_factory.mktemp("wheels")
    reason = _overlay_works(tmp_path_factory.mktemp("probe"))
    if reason:
        pytest.skip(reason)
    for version in ("0.1.0", "0.2.0"):
        source = tmp_path_factory.mktemp("source") / "tree"
        names = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split("\n")
        for name in filter(None, names):
            if (ROOT / name).is_file() and not name.startswith(("tests/", "cloud/ui/")):
                target = source / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target)
        project = source / "pyproject.toml"
        project.write_text(
            re.sub(r'^version = ".*"', f'version = "{version}"', project.read_text(), flags=re.MULTILINE)
        )
        _python("-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source))
    ours = next(folder.glob("minewarden-0.1.0-*.whl"))
    _python(
        "-m", "pip", "download", "-q", "-d", str(folder), "-c", str(ROOT / "constraints.txt"), f"{ours}[edge]"
    )
    return folder


def _python(*words: str) -> None:
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    if "No matching distribution" in done.stderr:
        pytest.skip(f"no package index reachable: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stdout + done.stderr


def _script(wheels: Path, body: str) -> str:
    python = Path(sys.executable).resolve()
    return f"""
        install() {{ bash {ROOT}/packaging/install.sh --python {python} --wheels {wheels} "$@"; }}
        one={wheels}/minewarden-0.1.0-py3-none-any.whl
        two={wheels}/minewarden-0.2.0-py3-none-any.whl
        running() {{ readlink /opt/minewarden/current; }}
        {body}
    """


def test_install_upgrade_roll_back_and_uninstall(wheels: Path, tmp_path: Path) -> None:
    done = _in_copy(
        tmp_path / "copy",
        _script(
            wheels,
            """
            install $one
            case $(running) in 0.1.0-*) ;; *) echo "wrong version $(running)"; exit 1;; esac
            /opt/minewarden/current/venv/bin/minewarden --version
            minewarden --help | grep guardian > /dev/null
            stat -c '%U %G %a' /var/lib/minewarden/guardian
            stat -c '%U %a' /etc/minewarden/credentials.key
            runuser -u minewarden-agent -- test ! -r /var/lib/minewarden/guardian
            runuser -u minewarden-agent -- test ! -r /etc/minewarden/credentials.key
            test -f /etc/systemd/system/minewarden-guardian.service

            echo latched > /var/lib/minewarden/guardian/latches
            key=$(sha256sum < /etc/minewarden/credentials.key)
            install $two
            case $(running) in 0.2.0-*) ;; *) echo "not upgraded"; exit 1;; esac
            grep -q latched /var/lib/minewarden/guardian/latches
            test "$key" = "$(sha256sum < /etc/minewarden/credentials.key)"

            install --rollback
            case $(running) in 0.1.0-*) ;; *) echo "not rolled back"; exit 1;; esac
            minewarden --version

            bash """
            + str(ROOT)
            + """/packaging/uninstall.sh
            test ! -e /opt/minewarden
            test ! -e /etc/systemd/system/minewarden-guardian.service
            grep -q latched /var/lib/minewarden/guardian/latches
            bash """
            + str(ROOT)
            + """/packaging/uninstall.sh --purge
            test ! -e /var/lib/minewarden
            ! getent passwd minewarden-agent
            echo everything-held
            """,
        ),
    )
    shown = done.stdout + done.stderr
    assert done.returncode == 0, shown
    assert "everything-held" in done.stdout
    assert "minewarden-guardian minewarden 700" in done.stdout
    assert "minewarden-guardian 600" in done.stdout


def test_an_upgrade_that_refuses_the_sites_file_changes_nothing(wheels: Path, tmp_path: Path) -> None:
    done = _in_copy(
        tmp_path / "copy",
        _script(
            wheels,
            """
            install $one
            echo 'schema = "nonsense"' > /etc/minewarden/site.toml
            if install $two; then echo "accepted nonsense"; exit 1; fi
            case $(running) in 0.1.0-*) echo still-the-old-one;; esac
            """,
        ),
    )
    assert "still-the-old-one" in done.stdout, done.stdout + done.stderr
    assert "nothing was changed" in done.stderr


def test_a_power_cut_in_the_middle_is_repaired_by_the_next_run(wheels: Path, tmp_path: Path) -> None:
    done = _in_copy(
        tmp_path / "copy",
        _script(
            wheels,
            """
            install $one
            half=/opt/minewarden/$(basename "$(readlink /opt/minewarden/current)")
            rm "$half/.complete" "$half/venv/bin/minewarden"
            install $one
            minewarden --version && echo repaired
            """,
        ),
    )
    assert "repaired" in done.stdout, done.stdout + done.stderr


def test_a_missing_wheel_is_a_clear_sentence() -> None:
    if os.geteuid() != 0:
        pytest.skip("install.sh asks for root before it looks at the wheel")
    command = ["bash", str(ROOT / "packaging" / "install.sh"), "nowhere.whl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "nowhere.whl: no such file" in done.stderr


STAND_INS = {
    # We are root, and a small machine has no sudo.
    "sudo": 'exec "$@"',
    # Nothing is fetched; mosquitto and curl are there.
    "apt-get": 'test "$1" = install',
    # The one call that the document makes: a folder with this checkout's programs in place of a virtual
    # environment, and a pip that fetches nothing.
    "python3": rf"""
test "$1 $2" = "-m venv"
mkdir -p "$3/bin"
printf '#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} "$@"\n' > "$3/bin/python"
printf '#!/bin/sh\nexec %s/bin/python -P -m shared.cli "$@"\n' "$3" > "$3/bin/minewarden"
printf '#!/bin/sh\ntest "$1" = install\n' > "$3/bin/pip"
chmod 0755 "$3"/bin/*
""",
    # No systemd runs here: what the units and the drop-in say is mounted and started as they say it.
    "systemctl": """
units=/etc/systemd/system
said() { sed -n "s/^$2=//p" "$units/$1" | tail -n 1; }
case $* in
  daemon-reload) ;;
  "enable --now run-brokerlog.mount")
    where=$(said run-brokerlog.mount Where)
    mkdir -p "$where"
    mount -t tmpfs -o "$(said run-brokerlog.mount Options)" tmpfs "$where" ;;
  "restart mosquitto")
    $(said mosquitto.service.d/minewarden.conf ExecStart) > /tmp/mosquitto.out 2>&1 & ;;
  "enable --now minewarden-broker-reload.path")
    test "$(said minewarden-broker-reload.path PathChanged)" = /var/lib/minewarden/broker/acl
    test -f /var/lib/minewarden/broker/acl
    test -f "$units/$(said minewarden-broker-reload.path Unit)" ;;
  "enable --now minewarden-cloud")
    cd "$(said minewarden-cloud.service WorkingDirectory)"
    runuser -u "$(said minewarden-cloud.service User)" -- $(said minewarden-cloud.service ExecStart) \
      > /tmp/cloud.out 2>&1 & ;;
  *) echo "no stand-in for systemctl $*" >&2; exit 1 ;;
esac
""",
}

STRANGER = """
import socket, ssl, time, urllib.request
anybody = ssl.create_default_context(cafile="/etc/minewarden/broker/ca.crt")
anybody.maximum_version = ssl.TLSVersion.TLSv1_2  # its handshake says that a certificate is missing
try:
    anybody.wrap_socket(socket.create_connection(("127.0.0.1", 8883)), server_hostname="broker.example.com")
except (ssl.SSLError, ConnectionError):
    print("turned away")
until = time.monotonic() + 60
ready = ""
while '"connect":1' not in ready and time.monotonic() < until:
    time.sleep(0.1)
    ready = urllib.request.urlopen("http://127.0.0.1:8480/health/ready").read().decode()
print(ready)
"""
"""Comes without a certificate, then waits until the cloud has counted it."""


def _clouds_part_of_the_document() -> str:
    """Its blocks as one script: shell as it stands, TOML into the file that the text before it names."""
    text = (ROOT / "docs" / "install.md").read_text()
    section = text.split("\n## The broker and the cloud\n")[1].split("\nEvery day:\n")[0]
    script = ""
    for before, language, block in re.findall(r"(.*?)```(\w+)\n(.*?)```", section, re.DOTALL):
        if language == "toml":
            file = re.findall(r"`(/\S+\.toml)`", before)[-1]
            script += f"cat > {file} <<'END-OF-FILE'\n{block}END-OF-FILE\n"
        else:
            script += block
    return script


def test_the_cloud_and_its_broker_come_up_by_the_documents_own_words_and_count_a_stranger(
    tmp_path: Path,
) -> None:
    reason = _overlay_works(tmp_path / "probe")
    missing = [name for name in ("mosquitto", "curl", "ip") if shutil.which(name) is None]
    if reason or missing:
        pytest.skip(reason or f"not installed: {', '.join(missing)}")
    stand_ins = tmp_path / "stand-ins"
    stand_ins.mkdir()
    for name, body in STAND_INS.items():
        (stand_ins / name).write_text(f"#!/bin/bash\nset -eu\n{body}\n")
        (stand_ins / name).chmod(0o755)
    stranger = tmp_path / "stranger.py"
    stranger.write_text(STRANGER)
    done = _in_copy(
        tmp_path / "copy",
        f"""
        trap 'tail -n 20 /tmp/mosquitto.out /tmp/cloud.out >&2 || true' ERR
        export PATH={stand_ins}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
        unset PYTHONPATH VIRTUAL_ENV
        ip link set lo up
        ! getent passwd minewarden-cloud
        cd {ROOT}
{_clouds_part_of_the_document()}
        echo
        runuser -u mosquitto -- test ! -r /etc/minewarden/ca/ca.key
        stat -c '%U %a %n' /etc/minewarden/keys/* /etc/minewarden/ca/ca.key
        {sys.executable} -P {stranger}
        """,
        "--net",
    )
    shown = done.stdout + done.stderr
    assert done.returncode == 0, shown
    before, after = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert before["broker"] == before["database"] == "ok"
    assert before["refused_mqtt"]["connect"] == 0
    assert "turned away" in done.stdout, shown
    assert after["refused_mqtt"] == before["refused_mqtt"] | {"connect": 1}
    secrets = re.findall(r"^(\S+) (\d+) /etc/minewarden/(\S+)$", done.stdout, re.MULTILINE)
    assert {name for _, _, name in secrets} >= {
        "ca/ca.key",
        "keys/api.token",
        "keys/command.key",
        "keys/assignment.key",
    }
    assert {(user, mode) for user, mode, _ in secrets} == {("minewarden-cloud", "600")}
    assert "for /etc/mosquitto/minewarden/minewarden.conf; not for conf.d" in done.stdout
