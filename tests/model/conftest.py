"""Prints, at the end of a run, how many states were explored and what was found."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Add the counts that ``test_model`` recorded."""
    reports = [*terminalreporter.stats.get("passed", []), *terminalreporter.stats.get("failed", [])]
    lines = [
        str(value) for report in reports for key, value in report.user_properties if key == "model"
    ]
    if lines:
        terminalreporter.section("model of the protocol")
        terminalreporter.write("\n".join([*lines, ""]))
