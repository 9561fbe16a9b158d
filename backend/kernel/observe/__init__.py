"""What operators see: logs, metrics, traces, the audit log, the workers."""
