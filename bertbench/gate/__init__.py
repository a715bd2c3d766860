"""The gate: what was measured now against a baseline, quantity by quantity: pass, fail or inconclusive.

`decision` (times) and `noninferiority` (quality) are arithmetic on values; `baseline` is the file; `collect` makes one of a
session; `judging` compares two.
"""
