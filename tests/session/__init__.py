"""Tests of what a command does, step by step. A package, so that equal file names elsewhere do not clash."""
