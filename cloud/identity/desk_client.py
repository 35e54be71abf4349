"""The command line's way to the running cloud: its REST API on loopback, with the configured token."""

import json
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Final

from cloud.config import CloudConfig, read_secret
from cloud.kit.problems import ApiError, Unavailable

_TIMEOUT_S: Final = 30.0


class DeskClient:
    """GET and POST below `/api/v1`; raises `ApiError` with the cloud's own sentence."""

    def __init__(self, config: CloudConfig, *, actor: str, token_file: Path | None = None) -> None:
        """`token_file` is a person's own token, where people have such; raises `ConfigError`."""
        self.actor = actor
        host = f"[{config.http_host}]" if ":" in config.http_host else config.http_host
        self._base = f"http://{host}:{config.http_port}/api/v1"
        self._token = config.token() if token_file is None else read_secret(token_file, "--token-file")

    def get(self, path: str, **query: str) -> Any:
        """The reply's JSON."""
        tail = f"?{urllib.parse.urlencode(query)}" if query else ""
        return self._call("GET", path + tail, None)

    def post(self, path: str, body: object) -> Any:
        """The reply's JSON."""
        return self._call("POST", path, json.dumps(body).encode())

    def _call(self, method: str, path: str, body: bytes | None) -> Any:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"}
        request = urllib.request.Request(self._base + path, data=body, headers=headers, method=method)  # noqa: S310 - loopback, see above
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as reply:  # noqa: S310 - as above
                return json.loads(reply.read())
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(_detail(error)) from error
        except (OSError, ValueError) as error:
            raise Unavailable(
                f"the cloud does not answer on {self._base}: {error}; is 'minewarden cloud run' running?"
            ) from error


class Refused(ApiError):
    """The cloud's no, in its own words."""

    code = "refused"


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read())["detail"])
    except (ValueError, KeyError, TypeError):
        return f"status {error.code}"
