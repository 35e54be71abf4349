"""guardian.sock: the agent's side. Its lease, its assignments, its pace."""
