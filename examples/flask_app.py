"""Flask with resumable uploads: ``uvicorn flask_app:application``.

Flask itself is WSGI and would hold a thread for each slow client; a2wsgi runs it beside the front
door, which does not.
"""

from a2wsgi import WSGIMiddleware
from flask import Flask

from chunkferry.tus import beside

app = Flask(__name__)


@app.get("/hello")
def hello() -> dict[str, str]:
    return {"message": "uploads begin at /files/"}


application = beside(WSGIMiddleware(app), "/files")
