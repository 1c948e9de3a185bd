"""A real S3 server for tests: Ceph's RADOS gateway on one monitor and one disk, on loopback.

``python -m tests.servers.ceph`` runs one by hand until Ctrl-C. The programs are the ones of the
Debian packages ceph-mon, ceph-osd, ceph-common and radosgw.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.waiting import wait_until

from chunkferry_worker import tether

#: What has to be installed.
PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")

#: A cold start takes 10 to 20 s on two cores.
START_SECONDS = 120.0
#: For the clean end of a daemon, before it is killed.
STOP_SECONDS = 5.0

# One replica and no authentication inside; "crc" because with the default, "secure", a gateway
# without cephx waits for ever. The disk is a sparse file.
_CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon_port}]
auth cluster required = none
auth service required = none
auth client required = none
ms client mode = crc
ms service mode = crc
ms cluster mode = crc
ms mon client mode = crc
ms mon service mode = crc
ms mon cluster mode = crc
ms bind ipv4 = true
ms bind ipv6 = false
public addr = 127.0.0.1
cluster addr = 127.0.0.1
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
rgw rados pool pg num min = 1
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 1000
run dir = {folder}
pid file = {folder}/$name.pid
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
mon cluster log file = {folder}/cluster.log
crash dir = {folder}
keyring = {folder}/keyring
[mon]
mon data = {folder}/mon
mon data avail warn = 1
mon data avail crit = 0
[osd]
osd data = {folder}/osd
osd objectstore = bluestore
bluestore block size = 34359738368
bluestore fsck on mount = false
osd class load list = *
osd class default list = *
osd memory target = 939524096
[client]
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw enable usage log = false
rgw enable ops log = false
rgw thread pool size = 64
rgw lifecycle work time = 00:00-00:01
"""


def missing_programs() -> list[str]:
    """The programs that are not installed."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


class CephServer:
    """One gateway with its own monitor and disk. No daemon outlives this process."""

    def __init__(self, folder: Path) -> None:
        """Describe the server; ``folder`` is where it keeps all its files."""
        self._folder = folder
        self._mon_port, self._port = free_ports(2)
        self._daemons: list[subprocess.Popen[bytes]] = []
        self.access_key = secrets.token_hex(10)
        self.secret_key = secrets.token_hex(20)

    @property
    def endpoint(self) -> str:
        """The gateway's URL."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Return once the gateway answers."""
        fsid = str(uuid.uuid4())
        settings = _CONFIGURATION.format(
            fsid=fsid, mon_port=self._mon_port, port=self._port, folder=self._folder
        )
        (self._folder / "ceph.conf").write_text(settings)
        (self._folder / "keyring").touch()
        self._start_monitor(fsid)
        self._start_disk()
        self._create_user()
        self._daemon("radosgw", "-n", "client.rgw")
        wait_until(self._answers, START_SECONDS, what="gateway answers")

    def stop(self) -> None:
        """End all daemons, the last one first."""
        for daemon in reversed(self._daemons):
            # Nothing on this disk is worth a clean end.
            daemon.kill()
            daemon.wait(STOP_SECONDS)
        self._daemons.clear()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start_monitor(self, fsid: str) -> None:
        monmap = str(self._folder / "monmap")
        address = f"[v2:127.0.0.1:{self._mon_port}]"
        self._run("monmaptool", "--create", "--addv", "a", address, "--fsid", fsid, monmap)
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)
        self._daemon("ceph-mon", "-i", "a")

    def _start_disk(self) -> None:
        disk = str(uuid.uuid4())
        self._run("ceph", "--connect-timeout", "60", "osd", "new", disk)
        (self._folder / "osd").mkdir()
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
        self._daemon("ceph-osd", "-i", "0")

    def _create_user(self) -> None:
        keys = ("--access-key", self.access_key, "--secret-key", self.secret_key)
        user = ("--uid", "tests", "--display-name", "tests")
        self._run("radosgw-admin", "-n", "client.rgw", "user", "create", *user, *keys)

    def _answers(self) -> bool:
        if self._daemons[-1].poll() is not None:
            msg = f"radosgw ended; see {self._folder}"
            raise AssertionError(msg)
        try:
            with urllib.request.urlopen(self.endpoint, timeout=2) as response:
                return bool(response.status)
        except urllib.error.HTTPError as answer:
            answer.close()
            return True
        except OSError:
            return False

    def _run(self, program: str, *arguments: str) -> None:
        command = [program, "-c", str(self._folder / "ceph.conf"), *arguments]
        if program == "monmaptool":
            command = [program, *arguments]
        done = subprocess.run(command, capture_output=True, timeout=START_SECONDS, check=False)
        if done.returncode:
            text = done.stderr.decode(errors="replace")[-2000:]
            msg = f"{program} {arguments[0]} failed with {done.returncode}: {text}"
            raise RuntimeError(msg)

    def _daemon(self, program: str, *arguments: str) -> None:
        command = [program, "-f", "-c", str(self._folder / "ceph.conf"), *arguments]
        with (self._folder / f"{program}.out").open("wb") as output:
            self._daemons.append(tether.spawn(command, stdout=output, stderr=output))


def free_ports(count: int) -> list[int]:
    """Ports that are free now: none twice, as all are held while the next is looked for."""
    with contextlib.ExitStack() as held:
        found = []
        for _ in range(count):
            listener = held.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            found.append(int(listener.getsockname()[1]))
        return found


def main() -> None:
    """Run a server until Ctrl-C."""
    if missing := missing_programs():
        sys.exit(f"not installed: {', '.join(missing)}")
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with tempfile.TemporaryDirectory(prefix="ceph-") as folder, CephServer(Path(folder)) as server:
        print(f"endpoint {server.endpoint}")  # noqa: T201 - what a person runs this for
        print(f"AWS_ACCESS_KEY_ID={server.access_key}")  # noqa: T201
        print(f"AWS_SECRET_ACCESS_KEY={server.secret_key}", flush=True)  # noqa: T201
        stopped.wait()


if __name__ == "__main__":
    main()
