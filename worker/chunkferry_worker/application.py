"""Makes Celery applications: for the worker processes, and for one inside a producer."""

from __future__ import annotations

from celery import Celery

from chunkferry.config import Settings
from chunkferry_worker import tasks
from chunkferry_worker.runtime import Runtime
from chunkferry_worker.settings import celery_settings


def create_app(settings: Settings) -> tuple[Celery, Runtime]:
    """An application with all tasks, and what they work with."""
    app = Celery("chunkferry", set_as_current=False)
    app.config_from_object(celery_settings(settings))
    runtime = Runtime(settings, app)
    tasks.register(app, runtime)
    return app, runtime
