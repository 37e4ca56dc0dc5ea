"""How the laws are run: the same examples each time, without a clock.

`GEOSEG_LAWS=20 pytest tests` hunts: twenty times as many examples, drawn anew on each run.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "laws",
    deadline=None,
    derandomize=os.environ.get("GEOSEG_LAWS", "1") == "1",
    database=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("laws")
