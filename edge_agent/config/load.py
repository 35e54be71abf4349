"""Reading the site file: whole or not at all."""

import tomllib
from pathlib import Path

import msgspec

from edge_agent.config.checks import check
from edge_agent.config.lines import Lines
from edge_agent.config.racks import placed
from edge_agent.config.structs import Paths, SiteFile, Uplink
from shared.errors import ConfigError
from shared.inventory import beside


def load(path: Path) -> SiteFile:
    """Read and check a site file. Raises `ConfigError` with `file:line: key: what is expected`."""
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text") from error
    return parse(text, path)


def parse(text: str, path: Path) -> SiteFile:
    """Check a site file's text; `path` is for messages and for resolving relative paths."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    lines = Lines(text, path)
    try:
        site = msgspec.convert(raw, SiteFile)
    except msgspec.ValidationError as error:
        raise ConfigError(lines.explain(error)) from error
    problems = [lines.at(key, message) for key, message in check(site)]
    if problems:
        raise ConfigError("\n".join(problems))
    own = _own_limits(site.site.action_limits, path.parent)
    return msgspec.structs.replace(
        site,
        paths=_resolved(site.paths, path.parent),
        site=msgspec.structs.replace(site.site, action_limits=own),
        devices=beside(placed(site), path.parent),
        uplink=_uplink(site.uplink, path.parent),
    )


def _own_limits(name: str, base: Path) -> str:
    """A file of the site's own stands where the site file does; a bare name is a shipped profile."""
    is_path = "/" in name or name.endswith(".toml")
    return str((base / name).resolve()) if is_path else name


def _uplink(uplink: Uplink, base: Path) -> Uplink:
    """The names of its files start at the site file's folder too."""
    keys = ("password_file", "ca_file", "cert_file", "key_file")
    named = {key: name for key in keys if (name := getattr(uplink, key)) is not None}
    return msgspec.structs.replace(
        uplink, **{key: str(base.absolute() / name) for key, name in named.items()}
    )


def _resolved(paths: Paths, base: Path) -> Paths:
    fields = {name: str((base / value).resolve()) for name, value in msgspec.structs.asdict(paths).items()}
    return Paths(**fields)
