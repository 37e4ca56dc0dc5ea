"""`geoseg qgis`: how the plugin gets into QGIS."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from geoseg.cli_progress import say

app = typer.Typer(no_args_is_help=True, help="The QGIS plugin: install.")


@app.callback()
def qgis() -> None:
    """Install the QGIS plugin."""


@app.command()
def install(
    profile: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of a QGIS profile  [default: the default profile]"
        ),
    ] = None,
    enable: Annotated[bool, typer.Option("--enable", help="Switch the plugin on, too")] = False,
) -> None:
    """Copy the plugin into a QGIS profile, or replace an older one; prints its folder."""
    from geoseg import qgis_profile

    if profile is not None:
        qgis_profile.check_profile(profile)
        profiles = [profile]
    else:
        profiles = qgis_profile.default_profiles(os.environ, sys.platform, Path.home())
    executable = qgis_profile.own_executable()
    for one in profiles:
        print(qgis_profile.install(one, executable))  # noqa: T201
        if enable:
            for file in qgis_profile.enable(one):
                say(f"switched on in {file}")
    say(f"the plugin runs {executable}; in QGIS it is in the Processing toolbox, under geoseg")
    if enable:
        say("start QGIS anew if it is running")
    else:
        say(
            "switch it on in QGIS: Plugins > Manage and Install Plugins > Installed > geoseg "
            "(start QGIS anew if it is running), or run this again with --enable"
        )
