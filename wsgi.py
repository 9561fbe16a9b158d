"""The web process: `granian --interface wsgi wsgi:app`."""

from backend.api import create_app
from backend.bootstrap import build_bus
from backend.settings import load_settings
from backend.shared.infrastructure.logging import configure_logging
from backend.shared.infrastructure.tracing import configure_tracing
from tasks.queue import CeleryQueue

settings = load_settings()
configure_logging(settings)
configure_tracing(settings, "api")
app = create_app(settings, build_bus(settings, CeleryQueue()))
