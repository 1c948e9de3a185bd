"""chunkferry: large files in pieces, through Redis streams and Celery workers, into a store."""
