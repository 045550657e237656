"""Real parts for the tests: servers that start once a session and leave nothing behind."""
