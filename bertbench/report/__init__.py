"""Rows from records, tables from rows, text from tables. Nothing here measures."""
