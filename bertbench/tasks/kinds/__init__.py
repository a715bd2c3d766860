"""One file a task kind, each with `PLUGIN`: how examples become inputs and outputs become predictions."""
