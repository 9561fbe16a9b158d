"""Delivery: a command is dispatched by the API, received by a worker, and takes effect once.

The API's side is `dispatch.py`; the worker's is `receive.py` and `handling.py`. What a handler causes leaves through
`outbox.py` and `relay.py`. The path of a command, file by file: docs/command-path.md.
"""
