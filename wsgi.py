"""The web process: `granian --interface wsgi wsgi:app`."""

import atexit

from backend.kernel.observe.logging import configure_logging
from backend.kernel.observe.tracing import configure_tracing
from backend.program import load_program
from backend.scaffold.cli import new
from tasks.app import make_app
from tasks.cli import topology_of
from tasks.queue import CeleryQueue

program = load_program()
configure_logging(program.settings)
configure_tracing(program.settings, "api")
celery = make_app(program)
process = program.process(CeleryQueue(celery, threads=4))
app = process.web()
atexit.register(process.close)
app.cli.add_command(new)
app.cli.add_command(topology_of(celery))
