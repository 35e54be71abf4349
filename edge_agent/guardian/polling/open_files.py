"""Open files: a connection that is kept for each device needs a limit to match."""

import resource

PER_DEVICE = 1
BESIDE = 512
"""Second connections, 4028 sockets, journal, agents, persons."""


def raise_limit() -> int:
    """Raise this process's own limit as far as it may by itself; the limit then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            return int(soft)  # a system whose hard limit is no number of files (macOS says "infinite")
        return hard
    return soft


def too_few(limit: int, devices: int) -> str | None:
    """A sentence for the log where `limit` open files are not enough for so many devices, else None."""
    needed = devices * PER_DEVICE + BESIDE
    if limit in (resource.RLIM_INFINITY, -1) or limit >= needed:
        return None
    return (
        f"only {limit} files may be open, {devices} devices need {needed}: some will be unreachable; "
        f"raise the hard limit (systemd: LimitNOFILE={needed}, shell: ulimit -Hn {needed})"
    )
