"""Django with resumable uploads, in one file: ``uvicorn django_app:application``.

In a project of your own, only the last two lines are new; they belong into its ``asgi.py``.
"""

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

from chunkferry.tus import beside

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="for the example only")
django.setup()


def hello(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"message": "uploads begin at /files/"})


urlpatterns = [path("hello", hello)]

# What a project adds to its asgi.py.
application = beside(get_asgi_application(), "/files")
