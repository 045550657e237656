"""What touches the world: one verb a file."""
