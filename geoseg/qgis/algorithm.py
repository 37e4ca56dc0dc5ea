"""How does an algorithm of the toolbox run a subcommand? All of them alike."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingParameterDefinition,
)

from .command import CommandError, arguments, child_environment
from .events import Event, missing, percent, progress_text, summary
from .process import CancelledError, run_command

if TYPE_CHECKING:
    from typing import Self


class CommandAlgorithm(QgsProcessingAlgorithm):
    """An algorithm that is a subcommand of `geoseg`."""

    parts: tuple[str, ...] = ("",)
    """What the subcommand makes one after the other, as its progress calls them."""

    def __init__(self, command: Callable[[], str]) -> None:
        """Prepare one.

        Args:
            command: Returns the path of the command; asked when it is needed.
        """
        super().__init__()
        self._command = command

    def createInstance(self) -> Self:
        """Return another one."""
        return type(self)(self._command)

    def helpUrl(self) -> str:
        """Return nothing: all help is in the dialog."""
        return ""

    def add(self, parameter: QgsProcessingParameterDefinition, help_: str) -> None:
        """Add a parameter that says what it means."""
        parameter.setHelp(help_)
        self.addParameter(parameter)

    def add_advanced(self, parameter: QgsProcessingParameterDefinition, help_: str) -> None:
        """Add a parameter that is folded away."""
        advanced = QgsProcessingParameterDefinition.FlagAdvanced
        parameter.setFlags(parameter.flags() | advanced)
        self.add(parameter, help_)

    def texts(self, parameters: Any, context: Any, names: Mapping[str, str]) -> dict[str, Any]:
        """Return what was typed, by option, of parameters by option."""
        return {
            option: self.parameterAsString(parameters, name, context).strip()
            for option, name in names.items()
        }

    def result_of(
        self, options: Mapping[str, Any], extra: str, places: Iterable[str], feedback: Any
    ) -> Event:
        """Run the subcommand of this name, tell how far it is, and return its result.

        Args:
            options: As `command.arguments` has them.
            extra: Likewise.
            places: Likewise.
            feedback: Who is told, and may cancel.

        Raises:
            QgsProcessingException: It gave none.
        """
        try:
            asked = arguments(self.name(), options, extra, places)
            executable = self._command()
            feedback.pushCommandInfo(shlex.join([executable, *asked]))
            result = run_command(
                executable,
                asked,
                child_environment(os.environ),
                tell=lambda event: _tell(event, self.parts, feedback),
                cancelled=feedback.isCanceled,
            )
        except (CancelledError, KeyboardInterrupt) as error:
            raise QgsProcessingException("cancelled") from error
        except CommandError as error:
            raise QgsProcessingException(str(error)) from error
        self.tell_result(result, feedback)
        return result

    def tell_result(self, result: Event, feedback: Any) -> None:
        """Log what a map holds, and what is missing in it."""
        for line in summary(result):
            feedback.pushInfo(line)
        for line in missing(result):
            feedback.reportError(line)


def _tell(event: Event, parts: Sequence[str], feedback: Any) -> None:
    kind, message = event["event"], str(event.get("message", ""))
    if kind == "progress":
        done = percent(event, parts)
        if done is not None:
            feedback.setProgress(done)
        feedback.setProgressText(progress_text(event))
    elif kind == "hello":
        feedback.pushInfo(f"geoseg {event.get('version')}")
    elif kind == "log" and event.get("level") in ("error", "critical"):
        feedback.reportError(message)
    elif kind == "log":
        feedback.pushWarning(message)
    # What is logged comes as an event, too.
    elif kind == "said" and not message.startswith(("WARNING: ", "ERROR: ", "error: ")):
        feedback.pushConsoleInfo(message)
