"""All Redis keys. Pure naming; nothing here talks to Redis.

Keys carry their shard as hash tag, so every move of an upload touches one cluster slot. An
upload's id begins with its shard, so its keys follow from its id alone.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Final

from chunkferry.errors import UploadNotFound

#: Outside the shards: how the data is laid out. Permanent.
LAYOUT: Final = "cf:layout"
#: HASH: when a sweep last looked, and until when silence is forgiven. Permanent.
SWEPT: Final = "cf:swept"
#: HASH: what all processes have counted, for metrics alone. Permanent.
TALLY: Final = "cf:tally"
#: STREAM: what could not be told, capped; vanishes 30 days after the newest.
LETTERS: Final = "cf:dead_letters"
#: STREAM: dead letters that are to be sent once more, capped; vanishes 30 days after the newest.
AGAIN: Final = "cf:letters_again"

#: How every key begins, and nothing else that is sent to Redis before one.
BEGINNINGS: Final = ("{cf:", "cf:")

_UPLOAD_ID: Final = re.compile(r"[0-9]{1,5}-[0-9a-f]{32}")


def shard_of_path(service: str, filepath: str, shards: int) -> int:
    """The shard of all uploads to ``filepath`` of ``service``."""
    return int(path_digest(service, filepath)[:8], 16) % shards


def path_digest(service: str, filepath: str) -> str:
    """Identifies a path of a service inside key names: 32 hexadecimal digits."""
    return hashlib.sha256(f"{service}\0{filepath}".encode()).hexdigest()[:32]


def new_upload_id(shard: int) -> str:
    """A fresh, unguessable upload id: the shard and 128 random bits."""
    return f"{shard}-{secrets.token_hex(16)}"


def is_upload_id(text: str) -> bool:
    """True if ``text`` has the form of an upload id."""
    return _UPLOAD_ID.fullmatch(text) is not None


def shard_of(upload_id: str) -> int:
    """The shard an upload lives in.

    Raises:
        UploadNotFound: this was never an upload id.
    """
    if not is_upload_id(upload_id):
        raise UploadNotFound(upload_id)
    return int(upload_id.partition("-")[0])


def _of_upload(kind: str, upload_id: str) -> str:
    return f"{{cf:{shard_of(upload_id)}}}:{kind}:{upload_id}"


def intake(upload_id: str) -> str:
    """HASH: what the producer sees and moves (state, length, received bytes, deadline)."""
    return _of_upload("intake", upload_id)


def work(upload_id: str) -> str:
    """HASH: what the workers move (stored bytes, lease, session, attempts)."""
    return _of_upload("work", upload_id)


def parts(upload_id: str) -> str:
    """STREAM: the received, not yet stored bytes; an entry's id is its end offset."""
    return _of_upload("parts", upload_id)


def receipts(upload_id: str) -> str:
    """HASH: part number -> what the store answered."""
    return _of_upload("receipts", upload_id)


def events(upload_id: str) -> str:
    """STREAM: the news of an upload, capped."""
    return _of_upload("events", upload_id)


def path(shard: int, service: str, filepath: str) -> str:
    """STRING: the id of the newest upload to a path."""
    return f"{{cf:{shard}}}:path:{path_digest(service, filepath)}"


def due(shard: int) -> str:
    """ZSET: every upload that has not ended, exactly once -> next moment to look at it (ms)."""
    return f"{{cf:{shard}}}:due"


def filling(shard: int) -> str:
    """ZSET: uploads with a part begun -> bytes missing until it is whole: room kept free for it."""
    return f"{{cf:{shard}}}:filling"


def principal(name: str) -> str:
    """ZSET: uploads of one principal, where quotas are on -> when they began (ms)."""
    return f"cf:principal:{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def ended(shard: int) -> str:
    """ZSET: ended uploads -> when their records vanish (ms); vanishes with the last of them."""
    return f"{{cf:{shard}}}:ended"


def graves(shard: int) -> str:
    """ZSET: ended uploads -> when to look once more for late effects at the store (ms)."""
    return f"{{cf:{shard}}}:graves"


def telling(shard: int) -> str:
    """ZSET: uploads of which somebody is to be told -> when to look for news of them (ms)."""
    return f"{{cf:{shard}}}:telling"


def joins(shard: int) -> str:
    """ZSET: uploads that are joined from others -> next moment to look at them (ms)."""
    return f"{{cf:{shard}}}:joins"


def partials(shard: int) -> str:
    """ZSET: uploads to be joined into others -> when their objects are not needed any more (ms)."""
    return f"{{cf:{shard}}}:partials"
