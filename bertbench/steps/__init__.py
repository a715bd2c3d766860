"""The steps of a session: each measures cells and stores a record for each, whatever happens."""
