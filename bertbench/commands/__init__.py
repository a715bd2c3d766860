"""One module a command; `bertbench.cli` registers them."""
