"""Interlocks as pure functions: `step(state, inputs, dt) -> (state, outputs, findings)`.

No I/O and no clock of their own: time enters as `dt` (s, monotonic) and as ages in the inputs, so a jump
of the wall clock neither causes nor prevents a trip (S19) and the same trace gives the same result. One
file per interlock (`temperature`, `cooling`, `stale`), `quality` before them, `zone` and `site` compose
them, `modes` is the table of the contracts and `restart` brings a zone back after a reset.
"""
