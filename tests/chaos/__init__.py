"""The promise under faults: `make chaos` breaks what it runs on, and counts."""
