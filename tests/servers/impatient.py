"""The worker's application over a broker that takes a message back after one second.

``celery -A tests.servers.impatient worker``. With ``IMPATIENT_ACKS_LATE`` set, messages are
acknowledged after their task, which chunkferry never does: to show what that would bring.
"""

from __future__ import annotations

import os

from chunkferry_worker.celery import app

app.conf.broker_transport_options = {
    **app.conf.broker_transport_options,
    "visibility_timeout": 1,
    # How often workers look for such messages: every 100 s by default.
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
}
app.conf.task_acks_late = bool(os.environ.get("IMPATIENT_ACKS_LATE"))
