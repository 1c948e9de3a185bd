"""The front door: an ASGI application for resumable uploads, without sticky sessions.

It speaks tus 1.0.0 and the IETF's Resumable Uploads for HTTP; every request may reach another
replica, because the offset check in Redis is the lock.
"""

from chunkferry.tus.app import TusApp, beside
from chunkferry.tus.hooks import Action, Creation, Hooks, Principal, Refused

__all__ = ["Action", "Creation", "Hooks", "Principal", "Refused", "TusApp", "beside"]
