"""What happens, in order: one workflow a file, readable as prose."""
