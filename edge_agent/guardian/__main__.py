"""`python -P -m edge_agent.guardian`: the same as `minewarden guardian`."""

import sys

from edge_agent.guardian.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
