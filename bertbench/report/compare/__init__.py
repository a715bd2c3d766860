"""A stored session to rows: ratios, intervals, verdicts, notes."""
