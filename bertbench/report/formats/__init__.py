"""Report to text, one file a format: each module has `PLUGIN`."""
