"""FastAPI with resumable uploads: ``uvicorn fastapi_app:app``, beside a Redis and a worker."""

from fastapi import FastAPI

from chunkferry.tus import TusApp

app = FastAPI()
app.mount("/files", TusApp())


@app.get("/hello")
def hello() -> dict[str, str]:
    return {"message": "uploads begin at /files/"}
