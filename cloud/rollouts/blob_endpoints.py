"""`/blobs`: model files for sites, whole or in parts."""

import base64
import hashlib
import logging
import re
from typing import Annotated

from fastapi import APIRouter, Header, Path, Response

from cloud.kit.context import Here
from cloud.kit.problems import BadInput, Forbidden, NotFound, Unauthorized, responses
from cloud.rollouts import tickets
from shared.errors import ArtifactError

router = APIRouter(prefix="/api/v1", tags=["rollouts"])
_RANGE = re.compile(r"bytes=(\d{1,12})-(\d{1,12})?")
_OCTETS = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_log = logging.getLogger(__name__)


@router.get(
    "/blobs/{sha256}",
    response_class=Response,
    responses={
        **responses(NotFound, Unauthorized, Forbidden, BadInput),
        200: {"content": _OCTETS},
        206: {"description": "The part that `Range` asked for", "content": _OCTETS},
    },
)
async def get_blob(
    here: Here,
    sha256: Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")],
    authorization: Annotated[str, Header()] = "",
    range_: Annotated[str | None, Header(alias="Range")] = None,
) -> Response:
    """A model file for the site that it is assigned to; `Range: bytes=a-b` gives a part.

    `Content-Digest` (RFC 9530) is the SHA-256 of what this answer carries.
    """
    async with here.database.read() as session:
        try:
            site = await tickets.admit(session, authorization, sha256, here.clock.utc_ms())
        except (Unauthorized, Forbidden) as error:
            _log.warning("model file %s is refused: %s", sha256[:12], error)
            raise
    first, last = _asked(range_)
    try:
        data, size = await here.blobs.part(sha256, first, last)
    except ArtifactError as error:
        raise NotFound(str(error)) from error
    if first >= size:
        raise BadInput(f"the file has {size} bytes, byte {first} is not among them")
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-store",
        "Content-Digest": f"sha-256=:{digest}:",
    }
    if range_ is None:
        _log.info("site %s fetches model file %s", site, sha256[:12])
        return Response(data, media_type="application/octet-stream", headers=headers)
    headers["Content-Range"] = f"bytes {first}-{first + len(data) - 1}/{size}"
    return Response(data, status_code=206, media_type="application/octet-stream", headers=headers)


def _asked(header: str | None) -> tuple[int, int | None]:
    """First and last byte of a single range; raises `BadInput` for anything else."""
    if header is None:
        return 0, None
    found = _RANGE.fullmatch(header.strip())
    if found is None:
        raise BadInput("only a single range 'bytes=<first>-<last>' is served")
    first, last = int(found[1]), int(found[2]) if found[2] is not None else None
    if last is not None and last < first:
        raise BadInput(f"range ends at byte {last}, before it begins at {first}")
    return first, last
