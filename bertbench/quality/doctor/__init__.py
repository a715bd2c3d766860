"""Checks that find what silently spoils figures: in data, checkpoints and how the two meet. Adding one is a small function.

A check takes a subject and gives a `Verdict`, or None where it does not apply; `examination.py` lists them all.
"""
