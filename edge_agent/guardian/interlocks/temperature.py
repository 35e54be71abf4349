"""The older names of `levels`, for what still imports them."""

from edge_agent.guardian.interlocks.levels import CLEAR as COOL
from edge_agent.guardian.interlocks.levels import Level, sheds, step
from edge_agent.guardian.interlocks.levels import Standing as Heat

__all__ = ["COOL", "Heat", "Level", "sheds", "step"]
