"""The web process: `granian --interface wsgi wsgi:app`."""

from backend.kernel.http.web import create_app
from backend.kernel.observe.logging import configure_logging
from backend.kernel.observe.tracing import configure_tracing
from backend.program import build_bus
from backend.settings import load_settings
from tasks.queue import CeleryQueue

settings = load_settings()
configure_logging(settings)
configure_tracing(settings, "api")
app = create_app(settings, build_bus(settings, CeleryQueue()))
