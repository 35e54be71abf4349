"""The agent's part in commands: hand signed orders on, keep and repeat what is said about them."""
