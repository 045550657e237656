"""The doors: REST, MCP and the command line, all made from one table of operations."""
