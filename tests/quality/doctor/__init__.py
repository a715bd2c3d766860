"""Tests of the commands. A package, so that equal file names elsewhere do not clash."""
