"""A page and JSON on loopback for whoever stands in front of the container with a phone."""
