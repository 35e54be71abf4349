"""From a wish to a confirmed write: proposals and signed orders in, permits, writes, read-back, effects."""
