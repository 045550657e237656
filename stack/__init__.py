"""How the processes are configured, started and watched."""
