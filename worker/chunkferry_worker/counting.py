"""What the reports of the tasks add to the metrics. Knows neither Redis nor how a task works."""

from __future__ import annotations

from chunkferry import families
from chunkferry.moves import Acquisition, Deferral
from chunkferry.state import TERMINAL
from chunkferry.tally import Tally
from chunkferry_worker.findings import ReconcileReport
from chunkferry_worker.sweep import SweepReport
from chunkferry_worker.turn import DrainReport

#: What any task reports.
Report = DrainReport | SweepReport | ReconcileReport


def count(tally: Tally, report: Report) -> None:
    """Count what a task has done, and tell it all processes. Never raises."""
    match report:
        case DrainReport():
            _count_drain(tally, report)
        case SweepReport():
            tally.count(families.SWEEPS)
            tally.count(families.SESSIONS_REAPED, by=report.reaped)
        case ReconcileReport():
            _count_reconcile(tally, report)
    # At once: this process may have nothing to do for long, or be killed in its next turn.
    tally.flush()


def _count_drain(tally: Tally, report: DrainReport) -> None:
    if isinstance(report.outcome, Acquisition):
        tally.count(families.NEEDLESS_WAKEUPS, report.outcome.value)
        if report.outcome is Acquisition.QUARANTINED:
            tally.count(families.UPLOADS_FAILED, "quarantined")
        return
    tally.count(families.TURNS, str(report.outcome))
    tally.count(families.TAKEOVERS, by=int(report.taken_over))
    tally.count(families.PARTS_STORED, report.service, by=report.parts)
    tally.count(families.BYTES_STORED, report.service, by=report.size)
    if report.outcome == "lost":
        tally.count(families.FENCE_REJECTIONS)
    elif report.outcome in TERMINAL:
        tally.count(families.UPLOADS_ENDED, report.service, str(report.outcome))
    elif isinstance(report.outcome, Deferral):
        tally.count(families.STORE_ERRORS, report.service, report.cause)
        if report.outcome is Deferral.FAILED:
            tally.count(families.UPLOADS_FAILED, report.error)


def _count_reconcile(tally: Tally, report: ReconcileReport) -> None:
    tally.count(families.RECONCILES)
    tally.count(families.ORPHANS_REMOVED, by=report.removed)
    tally.count(families.ORPHAN_BYTES, by=report.size)
    for finding in ("foreign", "stuck", "lost", "stored", "missing"):
        tally.count(families.RECONCILE_FINDINGS, finding, by=getattr(report, finding))
