"""The agent's own command line, with numbers of its models every other second instead of every ten minutes.

`python -P rollout_agent.py run --site FILE`; nothing else differs from `minewarden agent`.
"""

import sys

from edge_agent.agent.cli import main
from edge_agent.agent.inference import supervision

REPORT_EVERY_S = 2.0


if __name__ == "__main__":
    supervision.REPORT_EVERY_S = REPORT_EVERY_S  # type: ignore[misc]  # at the test's pace
    sys.exit(main(sys.argv[1:]))
