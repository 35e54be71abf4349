"""operator.sock: the side of people on site. Their tools, their asks, proof tests, explanations."""
