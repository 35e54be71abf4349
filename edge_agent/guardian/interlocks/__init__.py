"""Interlocks as pure functions: `step(state, inputs, dt) -> (state, outputs, findings)`.

No I/O and no clock of their own: time enters as `dt` (s, monotonic) and as ages in the inputs, so a jump
of the wall clock neither causes nor prevents a trip (S19) and the same trace gives the same result.

* what is seen: `quality` (before everything), `stale`, `stuck`, `voting`, `dew_point`
* one file per interlock: `levels` (any value against its limits), `miners`, `probes`, `contacts`, `proof` and
  `cooling`, `caps`, `mains`
* what follows: `inhibits`, `demands` (shed, stop, cooling), `trips`, `restart`, `modes` (the table of the
  contracts), `bypass`, and `asks` of persons
* `zone` and `site` compose them; `findings` and `zone_findings` put them into words
"""
