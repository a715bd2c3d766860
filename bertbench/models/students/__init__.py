"""Students: architectures derived from a teacher's, and their first weights taken from its."""
