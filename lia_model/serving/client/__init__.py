"""A client of the animation service: typed requests and answers, retries, and errors with the server's words.

A service that is full or restarts is waited for. It needs httpx and pydantic alone::

    with Client("http://127.0.0.1:8000", token) as client:
        job = client.submit(Path("portrait.jpg"), Path("talking.mp4"))
        client.wait(job.id, lambda status: print(status.progress))
        client.download(job.id, Path("out.mp4"))
"""

from lia_model.serving.client.http_client import Client

__all__ = ["Client"]
