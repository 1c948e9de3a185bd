"""A store of your own: objects as rows of an SQLite database, for files that fit into memory.

CHUNKFERRY_SERVICES='{"default": "sqlite_store:SqliteStore?path=/srv/objects.db"}'
"""

import io
import sqlite3
from contextlib import closing

import google_crc32c

from chunkferry.errors import SessionLost
from chunkferry.filepath import check_filepath
from chunkferry.services import StoredObject
from chunkferry.storage.transfer import Reader

# Part 0 is the session, and holds the path.
SCHEMA = """CREATE TABLE IF NOT EXISTS parts (upload, number, data, PRIMARY KEY (upload, number));
CREATE TABLE IF NOT EXISTS objects (path PRIMARY KEY, upload, data);"""


class SqliteStore:
    def __init__(self, options):
        self.path = options["path"]

    def sql(self, text, *arguments):
        # One statement, durably: its rows, or how many it changed.
        with closing(sqlite3.connect(self.path, timeout=30, isolation_level=None)) as db:
            db.executescript(SCHEMA)
            found = db.execute(text, arguments)
            return found.fetchall() if found.description else found.rowcount

    def chunk_file_service(self):
        return SqliteUpload(self)

    def exists(self, path):
        return bool(self.sql("SELECT 1 FROM objects WHERE path = ?", check_filepath(path)))

    def get(self, path):
        if rows := self.sql("SELECT data FROM objects WHERE path = ?", check_filepath(path)):
            return io.BytesIO(rows[0][0])
        raise FileNotFoundError(path)

    def put(self, path, reader):
        text = "REPLACE INTO objects VALUES (?, '', ?)"
        self.sql(text, check_filepath(path), Reader(reader).read())

    def delete(self, path):
        self.sql("DELETE FROM objects WHERE path = ?", check_filepath(path))


class SqliteUpload:
    def __init__(self, store):
        self.sql, self.upload, self.state = store.sql, None, ""

    def is_initialized(self):
        return bool(self.state)

    def save(self):
        return self.state

    def restore(self, upload, state):
        self.upload, self.state = upload, state

    def initialize_chunk(self, upload):
        self.restore(upload, upload.upload_id)
        text = "INSERT OR IGNORE INTO parts VALUES (?, 0, ?)"
        self.sql(text, self.state, check_filepath(upload.filepath))

    def upload_part(self, part, heartbeat):
        heartbeat()
        text = "REPLACE INTO parts SELECT upload, ?, ? FROM parts WHERE upload = ? AND number = 0"
        if not self.sql(text, part.number, bytes(part.data), self.state):
            raise SessionLost("the session is gone")
        return f"{part.crc32c:08x}"

    def complete_upload(self, parts, crc32c, heartbeat):
        select = "SELECT data FROM parts WHERE upload = ? AND number > 0 ORDER BY number"
        data = b"".join(row[0] for row in self.sql(select, self.state))
        text = "REPLACE INTO objects SELECT data, upload, ? FROM parts WHERE upload=? AND number=0"
        if google_crc32c.value(data) == crc32c:
            self.sql(text, data, self.state)
        if found := self.find_object():
            self.cleanup(heartbeat)
            return found
        raise SessionLost("the session is gone, or its parts are not those that were stored")

    def find_object(self):
        text = "SELECT length(data) FROM objects WHERE path = ? AND upload = ?"
        rows = self.sql(text, self.upload.filepath, self.upload.upload_id)
        return StoredObject(size=rows[0][0]) if rows else None

    def cleanup(self, confirm):
        confirm()
        self.sql("DELETE FROM parts WHERE upload = ?", self.upload.upload_id)
