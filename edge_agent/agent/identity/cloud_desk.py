"""The cloud's enrolment desk over HTTP: ask, then look whether a person has decided."""

import ipaddress
import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from shared.errors import ConfigError, MinewardenError, SecurityError

_TIMEOUT_S: Final = 15.0
_MAX_REPLY: Final = 256 * 1024


class CloudAway(MinewardenError):
    """The cloud could not be asked, or gave no usable answer; trying again later may help."""

    code = "cloud-away"
    permanent = False


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What the cloud says about one request."""

    id: str
    state: str
    reason: str
    now_ms: int
    ca_pem: str
    ca_fingerprint: str
    certificate_pem: str | None = None


class CloudDesk:
    """One cloud, by its URL."""

    def __init__(self, url: str, ca_file: Path | None = None) -> None:
        """Raises `ConfigError` for a URL that is neither HTTPS nor on loopback, or an unusable CA file."""
        self._url = url.rstrip("/")
        parts = urlsplit(self._url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"--cloud {url!r} is not a URL like https://cloud.example.com")
        if parts.scheme == "http" and not _is_loopback(parts.hostname):
            raise ConfigError(
                f"--cloud {url!r}: whoever listens on the way could hand this gateway a false authority; use "
                "https, or --offline and carry the file"
            )
        self._tls = _context(ca_file) if parts.scheme == "https" else None

    def ask(self, request_pem: str, made_ms: int, *, replace: bool) -> Decision:
        """Post a request; raises `SecurityError` where the cloud refuses it, `CloudAway` where it is away."""
        body = {"request_pem": request_pem, "made_ms": made_ms, "replace": replace}
        return self._call("/api/v1/enrolments", json.dumps(body).encode())

    def look(self, enrolment: str) -> Decision:
        """How the request stands now."""
        return self._call(f"/api/v1/enrolments/{enrolment}", None)

    def _call(self, path: str, body: bytes | None) -> Decision:
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked above
            self._url + path, data=body, headers={"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S, context=self._tls) as reply:  # noqa: S310 - as above
                return msgspec.json.decode(reply.read(_MAX_REPLY), type=Decision)
        except urllib.error.HTTPError as error:
            with error:
                text = _detail(error.read(_MAX_REPLY)) or f"status {error.code}"
            if error.code in (404, 409, 413, 422):
                raise SecurityError(f"the cloud refuses: {text}") from error
            raise CloudAway(f"{self._url}: {text}") from error
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise CloudAway(f"{self._url} cannot be asked: {error}") from error


def _detail(body: bytes) -> str:
    try:
        found = json.loads(body)
    except ValueError:
        return ""
    return str(found.get("detail", "")) if isinstance(found, dict) else ""


def _context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"--cloud-ca {ca_file}: cannot be used: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
