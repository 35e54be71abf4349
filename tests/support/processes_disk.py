"""A small disk for one folder, which a test can fill: a tmpfs in a mount namespace of its own."""

import os
import shutil
import subprocess
from pathlib import Path

SIZE_KB = 4_096


def why_not() -> str:
    """Why this machine cannot make one; empty where it can."""
    if not all(shutil.which(tool) for tool in ("unshare", "nsenter", "mount")):
        return "unshare, nsenter or mount (util-linux) is not installed"
    if os.geteuid() != 0:
        return "a mount namespace needs root"
    tried = subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, text=True, check=False
    )
    return f"no mount namespace here: {tried.stderr.strip()}" if tried.returncode else ""


class SmallDisk:
    """Mounted over `folder` for whoever is started by `around`; seen by the test at `path`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        mount = f'mount -t tmpfs -o size={SIZE_KB}k,mode=0700 none "$0" && echo ready && exec sleep infinity'
        self._holder = subprocess.Popen(
            ["unshare", "-m", "--propagation", "private", "sh", "-c", mount, str(folder)],
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"
        self.path = Path(f"/proc/{self._holder.pid}/root{folder}")
        self._ballast = self.path / "ballast"

    def around(self, command: list[str]) -> list[str]:
        """The command as it has to be started to see the disk."""
        return ["nsenter", "-m", "-t", str(self._holder.pid), "--", *command]

    def fill(self) -> None:
        """Not a byte is free afterwards."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (65_536, 4_096, 1):
                try:
                    while True:
                        file.write(b"\0" * size)
                except OSError:
                    continue  # smaller pieces still fit

    def free(self) -> None:
        """Give back what `fill` took."""
        self._ballast.unlink()

    def close(self) -> None:
        """End the namespace, and with it the disk, once nobody uses it."""
        self._holder.kill()
        self._holder.wait(10)
        if self._holder.stdout is not None:
            self._holder.stdout.close()
