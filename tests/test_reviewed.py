"""Which polygons count after a review."""

from __future__ import annotations

import pytest

from geoseg.errors import ConfigError
from geoseg.reviewed import ONLY, STATES, check_only, keeps


def test_what_is_accepted_is_kept_and_what_is_kept_is_all_but_the_rejected():
    states = (*STATES, None, "seen")
    accepted = {s for s in states if keeps(s, "accepted")}
    kept = {s for s in states if keeps(s, "kept")}
    assert accepted == {"accepted", "edited"}
    assert kept == set(states) - {"rejected"}
    assert all(keeps(s, None) for s in states)


def test_another_word_is_refused():
    for only in (None, *ONLY):
        check_only(only)
    with pytest.raises(ConfigError, match="--only 'edited' is none of: accepted, kept"):
        check_only("edited")
