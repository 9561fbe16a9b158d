"""`flask new context`: the files of a new context, from templates."""
