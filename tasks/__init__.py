"""Celery: the application, the publisher, the consumer, and the tasks that give messages to `backend/kernel/delivery`.

`backend` never imports it.
"""
