"""The way to the cloud: MQTT 5 behind a small transport, an outbox emptied by application acks only."""
