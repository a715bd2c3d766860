"""What was observed, on which machine, and where it is kept: the waist between measuring and reporting."""
