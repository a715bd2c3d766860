"""Records to experiment trackers, one file a tracker: each module has `PLUGIN`."""
