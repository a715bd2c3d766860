"""Evidence to verdicts on claims."""
