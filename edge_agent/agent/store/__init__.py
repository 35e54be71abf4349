"""What the site remembers: roll-ups and outbox in SQLite, raw samples in append-only column frames."""
