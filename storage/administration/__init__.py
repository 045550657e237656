"""Administrative changes, each in its caller's transaction: decide, change, raise epochs, and say what was done."""
