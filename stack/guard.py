"""Run a command that ends when its parent ends, even if the parent was killed with SIGKILL.

Called as `python -I -S guard.py PARENT_PID COMMAND…`: asks Linux to send SIGKILL when the parent dies, then becomes the
command. Elsewhere it only becomes the command, and the next start ends what was left behind (`stack.leftovers`).
Standard library only, since it runs before anything else is importable.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Become the command, tied to the parent's life."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            sys.exit("the parent process is gone")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
