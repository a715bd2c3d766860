"""One file a back-end, each with `PLUGIN`: what runs a forward pass."""
