"""Generated tasks, one file each with `PLUGIN`: sentences from small grammars, so that no hub is needed."""
