"""The adapters to what answers completions, and the table of routes to them."""
