"""Examples: read from files and hubs, or generated, and what a kind of task makes of them."""
