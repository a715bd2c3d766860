"""Tables that people read, made of long rows."""
