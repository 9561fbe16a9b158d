"""What every context uses. It imports no context, and whoever copies the project leaves it as it is.

Read in this order: `messages` (what a context declares), `http` (from request to command), `delivery` (from command to
effect), `postgres`, `observe`. `context.py` is how a context describes itself.
"""
