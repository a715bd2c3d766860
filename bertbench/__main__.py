"""`python -m bertbench`."""

from bertbench.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
