"""What ``doctor`` looks at where changes are to be told: receivers and dead letters.

Posts nothing: a receiver would take it for news.
"""

from __future__ import annotations

from collections.abc import Iterator

from chunkferry import connection
from chunkferry.config import Settings
from chunkferry.errors import ChunkferryError
from chunkferry.ledger import RedisLedger
from chunkferry_worker import callback
from chunkferry_worker.cli.checks import Finding, Verdict
from chunkferry_worker.delivery import DeliveryFailed
from chunkferry_worker.webhook import Webhook


def of(settings: Settings) -> Iterator[Finding]:
    """Findings about everybody who is to be told, and about what they could not be told."""
    for url in settings.webhook_urls:
        yield _webhook(Webhook(url.get_secret_value(), settings))
    if settings.on_complete:
        yield _on_complete(settings.on_complete)
    yield from _letters(settings)


def _webhook(webhook: Webhook) -> Finding:
    check = f"webhook {webhook.shown}"
    try:
        webhook.check()
    except DeliveryFailed as exc:
        return Finding(
            check=check,
            verdict=Verdict.BAD,
            message=str(exc),
            advice="correct CHUNKFERRY_WEBHOOK_URLS or the name's addresses: see docs/webhooks.md",
        )
    return Finding(check=check, verdict=Verdict.GOOD, message="its address may be posted to")


def _on_complete(name: str) -> Finding:
    try:
        callback.load(name)
    except ChunkferryError as exc:
        return Finding(
            check="on_complete",
            verdict=Verdict.BAD,
            message=str(exc),
            advice="workers do not start with it: correct the name, or PYTHONPATH",
        )
    return Finding(check="on_complete", verdict=Verdict.GOOD, message=f"{name} can be called")


def _letters(settings: Settings) -> Iterator[Finding]:
    try:
        found = RedisLedger(connection.connect(settings.redis_url), settings).letters.dead()
    except ChunkferryError:
        return  # the checks of Redis have told why
    if found:
        yield Finding(
            check="dead letters",
            verdict=Verdict.WARNING,
            message=f"{len(found)} changes could not be told; the last one: {found[-1].error}",
            advice="`chunkferry webhooks` lists them, and has them told again with --retry",
        )
