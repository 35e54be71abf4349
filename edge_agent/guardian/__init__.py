"""The guardian: the only process that reads and writes devices.

Polls, interlocks, arbiter, executor and journal; no machine learning, no MQTT, no numpy. It keeps the site
safe with the agent dead, the cloud gone and the disk full. Behaviours S01 to S24 of the contracts are its
specification; `tests/safety/` carries their numbers.
"""
