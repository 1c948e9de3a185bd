"""chunkferry's Celery workers and command line: ``celery -A chunkferry_worker worker``."""
