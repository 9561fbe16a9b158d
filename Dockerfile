# One image for every process; docker-compose.yml sets the command of each container.

FROM python:3.14-slim AS build
COPY requirements-production.txt /
RUN python -m venv --without-pip /venv \
    && pip --python /venv/bin/python install --no-cache-dir --no-compile \
        --require-hashes --only-binary :all: -r /requirements-production.txt
COPY wsgi.py celeryconfig.py alembic.ini pyproject.toml /app/
COPY backend /app/backend
COPY tasks /app/tasks
COPY migrations /app/migrations
# The file system will be read-only: compile the bytecode now, and never check it against its source again.
RUN python -m compileall -q --invalidation-mode unchecked-hash /venv/lib /app

FROM python:3.14-slim
RUN useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin app \
    && install --directory --owner=app --group=app /var/lib/flower
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/venv/bin:$PATH \
    APP_ENV=production \
    FLASK_APP=wsgi \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 8000
CMD ["granian", "--interface", "wsgi", "--host", "0.0.0.0", "--port", "8000", "--http", "1", "--no-ws", "--workers", "2", \
     "--http1-buffer-size", "131072", "--http1-header-read-timeout", "10000", "--blocking-threads", "64", "--backpressure", "128", "--respawn-failed-workers", "--workers-kill-timeout", "30", \
     "--log-level", "warning", "wsgi:app"]
