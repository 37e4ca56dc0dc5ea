"""Which command does the plugin run, with what arguments, and in which environment?"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.backends import available
from geoseg.qgis import command
from geoseg.qgis.command import CommandError, arguments, child_environment, find_command

pytestmark = pytest.mark.skipif(os.name != "posix", reason="a command without ending is of POSIX")

NAMES = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ_", min_size=1, max_size=12)


def executable(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def test_the_setting_counts_before_the_variable_the_installer_and_the_path(tmp_path):
    places = [executable(tmp_path / name / "geoseg") for name in ("set", "named", "venv", "bin")]
    setting, named, installer, _ = places
    folder = tmp_path / "plugin"
    folder.mkdir()
    (folder / command.INSTALLED_BY).write_text(json.dumps({"executable": installer}))
    environ = {"PATH": str(tmp_path / "bin"), command.VARIABLE: named}
    found = [find_command(setting, environ, folder), find_command("", environ, folder)]
    del environ[command.VARIABLE]
    found.append(find_command("", environ, folder))
    Path(installer).unlink()
    found.append(find_command("", environ, folder))
    assert found == places


@pytest.mark.parametrize("content", ["", "[]", '{"executable": 3}', '{"path": "/x"}'])
def test_without_a_command_one_line_says_what_to_do(tmp_path, content):
    (tmp_path / command.INSTALLED_BY).write_text(content)
    with pytest.raises(CommandError, match="python -m pip install geoseg"):
        find_command("", {"PATH": str(tmp_path)}, tmp_path)


def test_what_was_named_is_never_passed_over_in_silence(tmp_path):
    executable(tmp_path / "geoseg")
    environ = {"PATH": str(tmp_path)}
    with pytest.raises(CommandError, match=r"/no/geoseg is no command \(from Settings"):
        find_command("/no/geoseg", environ, tmp_path)
    with pytest.raises(CommandError, match=r"/no/geoseg is no command \(from GEOSEG_EXECUTABLE"):
        find_command("", {**environ, command.VARIABLE: "/no/geoseg"}, tmp_path)


@given(st.dictionaries(NAMES | st.sampled_from(command._LEAKS), st.text(max_size=5)))
def test_the_child_hears_nothing_of_the_libraries_of_qgis_and_all_else(environ):
    found = child_environment(environ)
    assert not found.keys() & set(command._LEAKS)
    kept = environ.keys() - set(command._LEAKS) - {"PYTHONUTF8"}
    assert {name: found[name] for name in kept} == {name: environ[name] for name in kept}
    assert found.keys() == kept | {"PYTHONUTF8"}


@given(st.lists(st.text('abc -="\\#\t', max_size=6)))
def test_quoted_options_arrive_as_they_are(words):
    quoted = " ".join(f"'{word}'" for word in words)
    assert arguments("segment", {}, quoted, ["a.tif"]) == ["segment", *words, "--", "a.tif"]


def test_what_is_not_given_is_not_passed():
    options = {"prompt": "-water", "legend": "", "tile": None, "overlap": 0, "overwrite": True}
    options |= {"quiet": False, "bands": " "}
    assert arguments("segment", options, '--memory 2GB --store "C:\\a b"', ["-a.tif"]) == [
        "segment",
        "--prompt=-water",
        "--overlap=0",
        "--overwrite",
        "--memory",
        "2GB",
        "--store",
        "C:\\a b",
        "--",
        "-a.tif",
    ]
    with pytest.raises(CommandError, match="close the quote"):
        arguments("segment", {}, '--store "x', [])


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/a/b c.tif", "/a/b c.tif"),
        ("/a/b.tif|option:NUM_THREADS=2", "/a/b.tif"),
        ("/vsicurl/https://x.org/a.tif", "https://x.org/a.tif"),
        ("/vsizip//a/b.zip/c.tif", "/vsizip//a/b.zip/c.tif"),
    ],
)
def test_a_raster_is_named_as_the_command_names_it(source, name):
    assert command.raster_name(source) == name


def test_backends_to_choose_from_are_installed_and_the_default_is_first():
    rows = [{**asdict(info), "installed": True} for info in available().values()]
    names = command.backend_names(rows)
    assert names[0] == "spectral"
    assert {"clipseg", "grounding-dino+sam2", "everything:sam2", "owlv2"} <= set(names)
    assert "sam2" not in names
    for row in rows:
        row["installed"] = not row["requires"]
    assert command.backend_names(rows) == ["spectral"]
