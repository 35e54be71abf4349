"""What is on the guardian's own disk: journal, latches, captures, credentials, the last good site file."""
