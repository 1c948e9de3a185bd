"""The real beat without any worker: what it leaves in the queue."""

from __future__ import annotations

from pathlib import Path

from tests.servers.redis import FreshRedis
from tests.servers.workers import StartBeat
from tests.waiting import wait_until

from chunkferry_worker.settings import MAINTENANCE


def test_sweeps_do_not_pile_up(fresh_redis: FreshRedis, start_beat: StartBeat) -> None:
    """While one waits, no other is sent; once it is taken, the next one is."""
    server = fresh_redis()
    client = server.client()
    beat = start_beat({"CHUNKFERRY_REDIS_URL": server.url, "CHUNKFERRY_SWEEP_SECONDS": "0.1"})
    for beats in (20, 40, 60):

        def has_gone_on(beats: int = beats) -> bool:
            return beat.log.read_text().count("Sending due task") > beats

        wait_until(lambda: client.llen(MAINTENANCE) == 1, 30, what="a sweep is waiting")
        wait_until(has_gone_on, 30, what="beats that went by")
        assert client.llen(MAINTENANCE) == 1
        client.delete(MAINTENANCE)


def test_a_broker_that_is_away_is_told_in_a_line(
    fresh_redis: FreshRedis, start_beat: StartBeat, tmp_path: Path
) -> None:
    """With each beat, and no traceback; the sign of life stops, and comes again with the broker."""
    server, alive = fresh_redis(), tmp_path / "alive"
    env = {"CHUNKFERRY_REDIS_URL": server.url, "CHUNKFERRY_SWEEP_SECONDS": "0.1"}
    beat = start_beat({**env, "CHUNKFERRY_BEAT_FILE": str(alive)})
    wait_until(alive.exists, 30, what="a first sweep")
    server.kill()

    def refusals() -> int:
        return beat.log.read_text().count("The broker did not take a sweep")

    wait_until(lambda: refusals() > 0, 60, what="beats without a broker")
    alive.unlink()
    wait_until(lambda: refusals() > 1, 60, what="another one")
    assert not alive.exists()
    assert "Traceback" not in beat.log.read_text()
    server.start()
    wait_until(alive.exists, 60, what="a sweep once the broker is back")
