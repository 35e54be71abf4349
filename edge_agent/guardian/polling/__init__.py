"""Reading devices: one poller per device, a deadline per read, back-off that spares the others."""
