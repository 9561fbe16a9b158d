"""PostgreSQL: connections, statements, queries, notifications, counters, retention."""
