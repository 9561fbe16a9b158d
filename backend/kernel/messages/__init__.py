"""What domain and application of a context are written with: commands, queries, events, refusals. No framework."""
