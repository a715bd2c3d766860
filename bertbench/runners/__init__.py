"""Spec to record: measuring size, speed, memory and quality of one model."""
