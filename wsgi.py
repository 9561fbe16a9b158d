"""The web process: `granian --interface wsgi wsgi:app`."""

from backend.kernel.observe.logging import configure_logging
from backend.kernel.observe.tracing import configure_tracing
from backend.program import load_program
from backend.scaffold.cli import new
from tasks.app import make_app
from tasks.queue import CeleryQueue

program = load_program()
configure_logging(program.settings)
configure_tracing(program.settings, "api")
app = program.process(CeleryQueue(make_app(program))).web()
app.cli.add_command(new)
