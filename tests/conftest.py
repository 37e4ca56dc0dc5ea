"""How the laws are run: the same examples each time, without a clock.

`GEOSEG_LAWS=20 pytest tests` hunts: twenty times as many examples, drawn anew on each run;
`GEOSEG_LAWS=0.5`, as in CI, takes half as many.
"""

from __future__ import annotations

import os
import signal
import sys

import pytest
import rasterio  # noqa: F401  before its parts
from hypothesis import HealthCheck, Phase, settings
from rasterio._env import del_gdal_config

HUNT = float(os.environ.get("GEOSEG_LAWS", "1")) > 1

settings.register_profile(
    "laws",
    deadline=None,
    derandomize=not HUNT,
    database=None,
    max_examples=100,
    # Making a failure small takes minutes; a hunter has them.
    phases=tuple(Phase) if HUNT else (Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("laws")


@pytest.fixture(autouse=True)
def _no_lasting_harm(monkeypatch):
    """The command closes its process for good; tests that call it share one."""
    before = dict(os.environ)
    for door in ("geoseg.cli.seal", "geoseg.cli_models.seal"):
        monkeypatch.setattr(door, lambda: True)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
        # Where rasterio found it, it has given it to GDAL, too, when it put things back.
        del_gdal_config(name)
    os.environ.update(before)


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command in this process; returns exit code, stdout and stderr."""
    from geoseg import cli

    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["geoseg", *map(str, arguments)])
        with pytest.raises(SystemExit) as done:
            cli.main()
        out, err = capsys.readouterr()
        code = done.value.code
        return (0 if code is None else int(code)), out, err

    yield call
    for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
        signal.signal(number, handler)
