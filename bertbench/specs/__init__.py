"""What is intended: models, tasks, suites, claims and papers, from YAML."""
