"""Which backends are there to choose from? Asked when a dialog opens; the dialog does not wait."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Any

from processing.gui.wrappers import WidgetWrapper
from qgis.PyQt.QtCore import QProcess, QProcessEnvironment
from qgis.PyQt.QtWidgets import QComboBox

from .command import CommandError, backend_names, child_environment
from .provider import command


class BackendWidget(WidgetWrapper):
    """A box to choose from, or to type a backend with weights of one's own."""

    def createWidget(self) -> QComboBox:
        """Return the box."""
        box = QComboBox()
        box.setEditable(True)
        self._asked = _ask(box)
        return box

    def setValue(self, value: Any) -> None:
        """Show a backend."""
        self.widget.setEditText("" if value is None else str(value))

    def value(self) -> str:
        """Return the backend that is shown."""
        return str(self.widget.currentText()).strip()


def _ask(box: QComboBox) -> QProcess | None:
    """Fill a box when the command has answered; without one, the box stays empty to type in."""
    try:
        executable = command()
    except CommandError:
        return None
    environment = QProcessEnvironment()
    for name, value in child_environment(os.environ).items():
        environment.insert(name, value)
    process = QProcess(box)
    process.setProcessEnvironment(environment)

    def fill(*_: Any) -> None:
        with suppress(ValueError, KeyError, AttributeError):
            names = backend_names(json.loads(bytes(process.readAllStandardOutput())))
            shown = box.currentText()
            box.clear()
            box.addItems(names)
            box.setEditText(shown)

    process.finished.connect(fill)
    process.start(executable, ["backends", "--json"])
    return process
