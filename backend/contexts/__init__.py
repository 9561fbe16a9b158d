"""The contexts. Each describes itself in its `context.py`; `backend/program.py` lists them."""
