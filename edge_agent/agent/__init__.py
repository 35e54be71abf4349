"""The agent: records, scores, proposes and reports. It never touches a device; it may restart any time."""
