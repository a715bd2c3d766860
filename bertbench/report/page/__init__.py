"""A report as one page for a browser, and its charts as pictures."""
