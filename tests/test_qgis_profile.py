"""The plugin gets into a profile of QGIS whole, or not at all."""

from __future__ import annotations

import configparser
import json
import shutil
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import geoseg
from geoseg import cli, qgis_profile
from geoseg.errors import ConfigError, OutputError
from geoseg.qgis.command import INSTALLED_BY
from geoseg.qgis_profile import PLUGIN, default_profiles, enable, install, switched_on

SOURCE = Path(geoseg.__file__).parent / "qgis"


@pytest.fixture
def profile(tmp_path):
    """A profile of QGIS that never had a plugin."""
    folder = tmp_path / "profiles" / "default"
    (folder / "QGIS").mkdir(parents=True)
    return folder


@pytest.fixture
def run(monkeypatch, capsys):
    """Run `geoseg qgis install`; returns exit code, stdout and stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["geoseg", "qgis", "install", *map(str, arguments)])
        monkeypatch.setattr("geoseg.interrupts.signal.signal", lambda *_: None)
        with pytest.raises(SystemExit) as done:
            cli.main()
        return int(done.value.code or 0), *capsys.readouterr()

    return call


@pytest.mark.parametrize(
    ("platform", "environ", "place"),
    [
        ("linux", {}, ".local/share/QGIS/QGIS3"),
        ("linux", {"XDG_DATA_HOME": "{home}/data"}, "data/QGIS/QGIS3"),
        ("darwin", {}, "Library/Application Support/QGIS/QGIS3"),
        ("win32", {"APPDATA": "{home}/Roaming"}, "Roaming/QGIS/QGIS3"),
        ("win32", {}, "AppData/Roaming/QGIS/QGIS3"),
        ("linux", {"QGIS_CUSTOM_CONFIG_PATH": "{home}/mine"}, "mine"),
    ],
)
def test_the_default_profile_is_found_where_qgis_puts_it(tmp_path, platform, environ, place):
    filled = {name: value.format(home=tmp_path) for name, value in environ.items()}
    with pytest.raises(ConfigError, match="start QGIS once, or give its folder with --profile"):
        default_profiles(filled, platform, tmp_path)
    wanted = tmp_path / place / "profiles" / "default"
    wanted.mkdir(parents=True)
    assert default_profiles(filled, platform, tmp_path) == [wanted]


def test_both_generations_of_qgis_get_it_in_the_profile_they_take(tmp_path):
    for generation, name in (("QGIS3", "default"), ("QGIS4", "forestry")):
        (tmp_path / ".local/share/QGIS" / generation / "profiles" / name).mkdir(parents=True)
    (tmp_path / ".local/share/QGIS/QGIS4/profiles/profiles.ini").write_text(
        "[core]\nselectionPolicy=1\ndefaultProfile=forestry\n"
    )
    found = default_profiles({}, "linux", tmp_path)
    assert [(p.parent.parent.name, p.name) for p in found] == [
        ("QGIS3", "default"),
        ("QGIS4", "forestry"),
    ]


def test_installed_is_the_whole_plugin_and_the_path_of_its_command(profile):
    target = install(profile, "/venv/bin/geoseg")
    assert target == profile / "python" / "plugins" / PLUGIN
    assert PLUGIN.isidentifier()
    for path in SOURCE.iterdir():
        if path.name != "__pycache__":
            assert (target / path.name).read_bytes() == path.read_bytes()
    assert json.loads((target / INSTALLED_BY).read_text()) == {"executable": "/venv/bin/geoseg"}
    assert [p.name for p in target.parent.iterdir()] == [PLUGIN]


def test_installing_again_leaves_nothing_of_the_older_one(profile):
    target = install(profile, "/old/geoseg")
    (target / "gone.py").write_text("x = 1\n")
    install(profile, "/new/geoseg")
    assert not (target / "gone.py").exists()
    assert "/new/geoseg" in (target / INSTALLED_BY).read_text()
    assert [p.name for p in target.parent.iterdir()] == [PLUGIN]


def test_a_link_to_sources_is_replaced_and_not_followed(profile, tmp_path):
    sources = tmp_path / "sources"
    shutil.copytree(SOURCE, sources)
    (profile / "python" / "plugins").mkdir(parents=True)
    (profile / "python" / "plugins" / PLUGIN).symlink_to(sources)
    target = install(profile, "/x/geoseg")
    assert not target.is_symlink()
    assert not (sources / INSTALLED_BY).exists()
    assert (sources / "metadata.txt").exists()


def test_an_older_plugin_stays_if_the_new_one_cannot_be_written(profile, monkeypatch):
    target = install(profile, "/old/geoseg")
    rename = Path.rename

    def fail(self, to):
        if self.name == "new":
            raise OSError(28, "No space left on device")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OutputError, match="No space left on device; make the folder writable"):
        install(profile, "/new/geoseg")
    assert "/old/geoseg" in (target / INSTALLED_BY).read_text()
    assert [p.name for p in target.parent.iterdir()] == [PLUGIN]


LINES = st.lists(
    st.sampled_from(["[PythonPlugins]", "[UI]", "geoseg_qgis=false", "other=true", "a=b", ""])
    | st.text("ab=[]; é", max_size=8),
    max_size=12,
)


@given(
    LINES.filter(lambda lines: lines.count("[PythonPlugins]") < 2), st.sampled_from(["\n", "\r\n"])
)
def test_switching_on_changes_one_line(lines, end):
    text = end.join(lines)
    done = switched_on(text)
    assert switched_on(done) == done
    found = done.splitlines()
    at = found.index("[PythonPlugins]")
    assert found[at + 1] == "geoseg_qgis=true"
    # Other lines keep their order; what is new is the section, if there was none, with a gap.
    rest = iter(found)
    assert all(
        line in rest for line in text.splitlines() if line.partition("=")[0].strip() != PLUGIN
    )
    assert len(found) <= len(lines) + 3


def test_settings_are_written_whole_and_other_bytes_stay(profile):
    file = profile / "QGIS" / "QGIS3.ini"
    file.write_bytes(b"[UI]\r\nname=\xff\xe9\r\n[PythonPlugins]\r\ngeoseg_qgis=false\r\nx=true\r\n")
    assert enable(profile) == [file]
    assert file.read_bytes() == (
        b"[UI]\r\nname=\xff\xe9\r\n[PythonPlugins]\r\ngeoseg_qgis=true\r\nx=true\r\n"
    )
    assert [p.name for p in file.parent.iterdir()] == ["QGIS3.ini"]


def test_a_profile_without_settings_gets_those_of_its_generation(tmp_path):
    for generation in ("QGIS3", "QGIS4"):
        profile = tmp_path / generation / "profiles" / "default"
        profile.mkdir(parents=True)
        (file,) = enable(profile)
        assert file.name == f"{generation}.ini"
        assert file.read_text() == "[PythonPlugins]\ngeoseg_qgis=true\n"


def test_the_command_installs_switches_on_and_says_where(run, profile):
    code, out, err = run("--profile", profile)
    assert (code, out.strip()) == (0, str(profile / "python" / "plugins" / PLUGIN))
    assert "Plugins > Manage and Install Plugins" in err
    assert not (profile / "QGIS" / "QGIS3.ini").exists()
    code, _, err = run("--profile", profile, "--enable")
    assert code == 0
    assert f"switched on in {profile / 'QGIS' / 'QGIS3.ini'}" in err


def test_a_folder_that_is_no_profile_is_one_line_and_exit_2(run, tmp_path):
    for folder, words in (("no", "is no folder"), (".", "is no QGIS profile")):
        code, out, err = run("--profile", tmp_path / folder)
        assert (code, out) == (2, "")
        assert words in err
        assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["python", "QGIS"])
def test_a_profile_that_cannot_be_written_is_one_line_and_exit_2(run, profile, place):
    shutil.rmtree(profile / "QGIS")
    (profile / place).write_text("a file where a folder should be")
    code, _, err = run("--profile", profile, "--enable")
    assert code == 2
    assert err.splitlines()[-1].startswith("error: ")
    assert "cannot be written" in err


def test_the_command_that_installs_is_the_one_that_runs(tmp_path, monkeypatch):
    there = tmp_path / "geoseg"
    there.write_text("#!/bin/sh\n")
    there.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(there)])
    assert qgis_profile.own_executable() == str(there)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "pytest")])
    monkeypatch.setattr(qgis_profile.sysconfig, "get_path", lambda _: str(tmp_path))
    assert qgis_profile.own_executable() == str(there)
    there.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="is nowhere on PATH"):
        qgis_profile.own_executable()


def test_the_metadata_say_what_qgis_wants_to_know():
    parser = configparser.ConfigParser()
    parser.read(SOURCE / "metadata.txt", "utf-8")
    facts = parser["general"]
    project = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    assert facts["version"] == project["version"]
    assert facts["license"] == project["license"]
    assert facts["hasProcessingProvider"] == "yes"
    assert (SOURCE / facts["icon"]).is_file()
    assert all(facts[name] for name in ("name", "description", "about", "author", "tags"))
    assert facts["qgisMinimumVersion"] == "3.22"
