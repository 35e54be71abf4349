"""Policies: pure functions of what is known now to proposals and events. None of them can act."""
