"""Session-wide rules: a skipped test fails the run unless its reason holds on any bare machine."""

from __future__ import annotations

import signal

import pytest

BARE = "bare machine: "


def pytest_sessionstart() -> None:
    # A shell starts background jobs with interrupts ignored, which the programs that tests start,
    # and interrupt, would inherit.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or exitstatus != 0:
        return
    for report in reporter.stats.get("skipped", []):
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        if not reason.removeprefix("Skipped: ").startswith(BARE):
            reporter.write_line(f"skipped without a reason that holds: {report.nodeid}: {reason}")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
