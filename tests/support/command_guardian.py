"""The guardian's own command line; whether its wall clock counts as synchronised stands in a file.

`python -P command_guardian.py CLOCK_FILE run --site FILE`: as `processes_guardian`, and beside CLOCK_FILE a
file `unsynchronised` makes the answer no. Nothing else differs from `minewarden guardian`.
"""

import sys
from pathlib import Path

from edge_agent.guardian import clock_sync
from edge_agent.guardian.cli import main
from support.processes_guardian import step_clock_by

FLAG = "unsynchronised"


def synchronised_unless(flag: Path) -> None:
    """From now on a simulated site's clock is synchronised where `flag` does not exist."""

    def answer() -> bool:
        return not flag.exists()

    clock_sync.simulated_site_needs_no_sync = answer


if __name__ == "__main__":
    clock_file = Path(sys.argv[1])
    step_clock_by(clock_file)
    synchronised_unless(clock_file.with_name(FLAG))
    sys.exit(main(sys.argv[2:]))
