"""`minewarden demo`: a whole site as real processes on loopback, and a scenario played on it.

The demo is a stranger to the other processes: it starts them as a person would, and talks to them by
REST, by their command lines and by the simulator's fault API only.
"""
