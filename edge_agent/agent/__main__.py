"""`python -P -m edge_agent.agent run --site FILE`."""

import sys

from edge_agent.agent.cli import main

sys.exit(main())
