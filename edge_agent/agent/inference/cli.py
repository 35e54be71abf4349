"""`minewarden agent model list | verify | pin | unpin | rollback`: what a person may do with the models.

`list` and `verify` only read and need no agent. The others ask the running agent over loopback, because it
owns the slots; none of them needs a network.
"""

import asyncio
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

import msgspec

from edge_agent.agent.inference.admission import check_manifest, check_structure
from edge_agent.agent.inference.memory import MemoryFile
from edge_agent.agent.inference.model import spec_of
from edge_agent.agent.inference.probe import ProbeRequest, probe
from edge_agent.agent.inference.slots import Slots
from edge_agent.agent.inference.structure import inspect
from edge_agent.agent.inference.transitions import UNUSABLE, manifest_of
from edge_agent.agent.local_api.server import HOST, TOKEN_FILE, TOKEN_HEADER
from edge_agent.config import SiteFile
from shared.artifacts.keyring_update import TrustedKeys
from shared.artifacts.manifest import Assignment, Manifest, check_bytes, verify_assignment
from shared.artifacts.signing import Keyring
from shared.clock import Clock, SystemClock
from shared.errors import ConfigError

ACTIONS: Final = ("list", "verify", "pin", "unpin", "rollback")
_DONE: Final = {
    "pin": "pinned: {pinned} is kept until 'unpin'",
    "unpin": "unpinned",
    "rollback": "rolled back",
}
_NOTHING: Final = {
    "pin": "no model is active, so there is nothing to keep",
    "unpin": "nothing is pinned",
    "rollback": "no model is active",
}


def run(action: str, site: SiteFile) -> int:
    """One command; returns the exit code (1 = refused, or something in the slots is not in order)."""
    if action == "list":
        return _list(site)
    if action == "verify":
        return asyncio.run(_verify(site, SystemClock()))
    return _ask(action, site)


def _found(site: SiteFile) -> tuple[Slots, list[tuple[str, str]]]:
    slots = Slots(Path(site.paths.agent_state) / "models")
    every = msgspec.structs.asdict(slots.current()).items()
    return slots, [(name, sha256) for name, sha256 in every if sha256 is not None]


def _list(site: SiteFile) -> int:
    slots, found = _found(site)
    print(_keyring(site))
    if not found:
        print("no model: the site runs on rules")
    memory = MemoryFile(slots.folder).now
    for name, sha256 in found:
        try:
            signed = slots.load(sha256).signed
            manifest = manifest_of(signed)
            stage = msgspec.msgpack.decode(signed.payload, type=Assignment).stage
        except UNUSABLE as error:
            print(f"{name:<10} {sha256[:12]}  unreadable: {error}")
            continue
        notes = [f"assigned for {stage}"]
        if memory.pin is not None and memory.pin.sha256 == sha256:
            notes.append("pinned")
        if name == "active" and memory.trial is not None and memory.trial.sha256 == sha256:
            notes.append("confirmed" if memory.trial.confirmed else "on trial")
        if ends := sum(death.times for death in memory.deaths if death.sha256 == sha256):
            notes.append(f"unclean ends of the agent: {ends}")
        words = ", ".join(notes)
        print(
            f"{name:<10} {sha256[:12]}  {manifest.name} v{manifest.version} ({manifest.algorithm}), {words}"
        )
    return 0


def _keyring(site: SiteFile) -> str:
    """Which keys the agent trusts, in one line."""
    try:
        keys = _trusted(site)
    except ConfigError as error:
        return f"keyring    unreadable: {error}"
    if keys.damaged:
        return "keyring    DAMAGED: only root keys count until it is delivered again"
    whence = f"version {keys.version}" if keys.newest is not None else "the file of the site"
    return f"keyring    {whence}, {keys.count} keys"


def _trusted(site: SiteFile) -> TrustedKeys:
    return TrustedKeys(Path(site.paths.keyring), Path(site.paths.agent_state) / "keyring.bin", site.site.id)


async def _verify(site: SiteFile, clock: Clock) -> int:
    slots, found = _found(site)
    if not found:
        print("no model: the site runs on rules")
    keys = _trusted(site)
    bad = 0
    for name, sha256 in found:
        try:
            words = await check_stored(slots, sha256, keys, site, clock)
            print(f"{name:<10} {sha256[:12]}  in order: {words}")
        except UNUSABLE as error:
            bad += 1
            print(f"{name:<10} {sha256[:12]}  NOT in order: {error}")
    return 1 if bad else 0


async def check_stored(slots: Slots, sha256: str, keys: Keyring, site: SiteFile, clock: Clock) -> str:
    """All checks of an arriving model on one that is stored; raises one of `UNUSABLE`."""
    stored = slots.load(sha256)
    now_ms = clock.utc_ms()
    manifest: Manifest = verify_assignment(stored.signed, keys, site=site.site.id, now_ms=now_ms).manifest
    check_manifest(manifest, step_s=site.timing.step_s)
    check_bytes(manifest, stored.data)
    check_structure(inspect(stored.data))
    spec = spec_of(manifest)
    found = await probe(
        ProbeRequest(model=stored.data, manifest=manifest, width=spec.width, features=len(spec.features))
    )
    return f"{manifest.name} v{manifest.version}, signatures, hash, self-test off by {found.error_max:.2g}"


def _ask(action: str, site: SiteFile) -> int:
    """Ask the running agent; it owns the slots."""
    token_file = Path(site.paths.agent_state) / TOKEN_FILE
    url = f"http://{HOST}:{site.agent.status_port}/model/{action}"
    try:
        token = token_file.read_text()
        request = urllib.request.Request(url, method="POST", headers={TOKEN_HEADER: token})  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - the URL is built above, on loopback
            print(_DONE[action].format(**json.load(answer)))
            return 0
    except urllib.error.HTTPError as error:
        text = _NOTHING[action] if error.code == 409 else error.read().decode(errors="replace")
        print(f"minewarden agent: {text}", file=sys.stderr)
    except OSError as error:
        print(f"minewarden agent: no agent here that you may ask: {error}", file=sys.stderr)
    return 1
