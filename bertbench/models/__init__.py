"""Checkpoints, configurations and architectures: found, checked, built, counted."""
