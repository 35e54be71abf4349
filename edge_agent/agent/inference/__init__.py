"""Models on the gateway: fetched, verified, shadowed, swapped, rolled back; one batch per cycle."""
