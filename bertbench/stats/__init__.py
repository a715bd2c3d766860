"""Functions over values: intervals, tests, stopping rules, metrics. Nothing here knows of records."""
