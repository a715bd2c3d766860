"""What does the jobs of a grid; each is one file with `PLUGIN`, shaped like concurrent.futures."""
