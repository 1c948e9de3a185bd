"""A client of the front door in a process of its own: killed, frozen, or waited for.

Knows no client: each is a command that takes what it is asked for as JSON, prints its upload's URL
as soon as it knows it, and what came of it at the end.
"""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.waiting import wait_until

from chunkferry_worker import tether

#: A busy machine needs a while; the clients' own retries are done in ten seconds.
_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an upload."""

    #: Of the upload, absolute; None if none was begun.
    url: str | None
    #: What the application would be told; None if all went well.
    error: str | None
    #: Each answer that came: "PATCH 204"; none of clients that do not show them.
    sent: list[str] = field(default_factory=list)
    #: SHA-256 of each file that lay in the folder ``look`` when the client called it a success.
    found: list[str] = field(default_factory=list)

    @property
    def upload_id(self) -> str:
        """The upload's."""
        assert self.url is not None, self.error
        return self.url.rpartition("/")[2]


class Client:
    """One upload of one client."""

    def __init__(self, command: list[str], asked: dict[str, Any], log: Path) -> None:
        self._log = log
        self._errors = log.with_suffix(".err")
        with log.open("wb") as out, self._errors.open("wb") as err:
            self._process = tether.spawn([*command, json.dumps(asked)], stdout=out, stderr=err)

    def _lines(self) -> list[dict[str, Any]]:
        """What it has told; a line that is being written is not told yet."""
        told = self._log.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in told.splitlines()]

    @property
    def url(self) -> str:
        """Of its upload; waits until it is known."""
        wait_until(lambda: self._lines() or self.has_ended(), _SECONDS, what="the upload's URL")
        assert self._lines(), self._errors.read_text()
        return str(self._lines()[0]["url"])

    @property
    def upload_id(self) -> str:
        """Of its upload; waits until it is known."""
        return self.url.rpartition("/")[2]

    def has_ended(self) -> bool:
        """Whether there is an outcome, or will never be one."""
        return self._process.poll() is not None

    def outcome(self) -> Outcome:
        """What came of it; waits for its end."""
        code = self._process.wait(_SECONDS)
        assert code == 0, self._errors.read_text()
        return Outcome(**self._lines()[-1])

    def kill(self) -> None:
        """SIGKILL."""
        if not self.has_ended():
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """SIGSTOP: its connections stay, and nothing comes over them."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)
