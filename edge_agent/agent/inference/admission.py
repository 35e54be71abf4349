"""May this assignment in at all? Signatures, replay, age, and whether this agent can compute its features.

Pure but for the numbers it is handed; `keeper.py` stores what follows from a yes.
"""

import math
import re
from importlib.metadata import version
from typing import Final

import msgspec

from edge_agent.agent.inference.model import spec_of
from edge_agent.agent.inference.structure import Structure
from shared.artifacts.manifest import Family, Manifest, Stage, Verified, verify_assignment
from shared.artifacts.signing import Keyring, Signed
from shared.errors import ArtifactError, SecurityError
from shared.ids import SiteId

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What this gateway accepted so far, so that nothing old comes back."""

    counter: int = 0
    digest: str = ""
    """SHA-256 of the newest accepted assignment's payload."""
    versions: dict[str, int] = {}
    hashes: dict[str, str] = {}
    """Per model name: highest version, and the hash of its file."""
    until_ms: int = 0
    """The latest end of all assignments that were accepted in time."""


def admit(
    signed: Signed, keyring: Keyring, *, site: SiteId, now_ms: int, step_s: int, seen: Seen, known: set[str]
) -> Verified:
    """Check an assignment before anything is fetched; raises `SecurityError` or `ArtifactError`.

    `known` are the hashes in this gateway's slots: going back to one of those is a signed rollback, any
    other version at or below the highest seen is refused.
    """
    verified = verify_assignment(signed, keyring, site=site, now_ms=now_ms)
    if verified.assignment.counter <= seen.counter:
        raise SecurityError(
            f"assignment counter {verified.assignment.counter} is not above {seen.counter}: replayed"
        )
    manifest = verified.manifest
    if not _SHA256.fullmatch(manifest.sha256):
        raise ArtifactError("manifest's sha256 is not a hash")
    if verified.assignment.stage is Stage.WITHDRAWN:
        return verified
    highest = seen.versions.get(manifest.name, 0)
    if manifest.sha256 not in known and (
        manifest.version < highest
        or (manifest.version == highest and seen.hashes.get(manifest.name) != manifest.sha256)
    ):
        raise SecurityError(f"{manifest.name} v{manifest.version} is not newer than v{highest}")
    check_manifest(manifest, step_s=step_s)
    return verified


def check_manifest(manifest: Manifest, *, step_s: int) -> None:
    """Whether this agent can run such a model; raises `ArtifactError`."""
    if manifest.family is not Family.MINER_ANOMALY:
        raise ArtifactError(f"this agent has no use for a model of family {manifest.family!r}")
    if _numbers(manifest.min_agent) > _numbers(version("minewarden")):
        raise ArtifactError(f"needs agent {manifest.min_agent} or newer, this is {version('minewarden')}")
    if manifest.step_s != step_s:
        raise ArtifactError(f"is made for steps of {manifest.step_s} s, this site has {step_s} s")
    if not manifest.thresholds or not all(math.isfinite(t) and t > 0 for t in manifest.thresholds.values()):
        raise ArtifactError("has no usable thresholds")
    spec_of(manifest)


def check_structure(structure: Structure) -> None:
    """Whether the file has the face of the contract; raises `ArtifactError`."""
    if "x" not in structure.inputs or not {"score", "residual"} <= set(structure.outputs):
        raise ArtifactError(
            f"file has inputs {list(structure.inputs)} and outputs {list(structure.outputs)}, "
            "expected x → score, residual"
        )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])
