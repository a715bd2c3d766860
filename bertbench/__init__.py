"""bertbench: what compressing BERT costs and gains, measured."""

__version__ = "0.1.0"
