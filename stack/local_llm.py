"""The local language model as a process: llama.cpp's OpenAI-compatible server.

`python -m stack.local_llm PORT` (or `cohort llm`) reads the key that callers must show from COHORT_LOCAL_LLM_KEY. The
model is a small one, for trying the flow: it answers fast and knows little.
"""

import importlib
import signal
import sys
import threading
from types import FrameType
from typing import Any

from stack.programs import local_model
from stack.settings import BadSettings, Settings

MODEL_NAME = "smollm2"
SLOTS = 2
"""Completions at the same time; others wait in line."""
CONTEXT_TOKENS = 4_096
"""Prompt and answer of one completion together."""


def serve(port: int, key: str, host: str = "127.0.0.1") -> None:
    """Serve until SIGTERM or SIGINT. A model file that cannot be read ends the process with exit code 1."""
    # the handlers come first, since loading the model takes a moment and ignores signals otherwise
    stop = threading.Event()

    def asked(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, asked)

    llama: Any = importlib.import_module("xllamacpp")  # a compiled module without type stubs
    parameters = llama.CommonParams()
    parameters.model.path = str(local_model())
    parameters.model_alias = {MODEL_NAME}
    parameters.hostnames = [host]
    parameters.port = port
    parameters.api_keys = [key]
    parameters.n_parallel = SLOTS
    parameters.n_ctx = SLOTS * CONTEXT_TOKENS
    parameters.cache_ram_mib = 64
    parameters.fit_params = False
    parameters.ui = False
    parameters.endpoint_slots = False
    parameters.verbosity = 1
    for threads in (parameters.cpuparams, parameters.cpuparams_batch):
        threads.n_threads = 1  # the other processes of the stack need the rest
        threads.poll = 0  # an idle server must not burn a core
    server = llama.Server(parameters)
    print(f"serving {MODEL_NAME} at {server.listening_address}", flush=True)
    stop.wait()


def run(port: int, host: str = "127.0.0.1") -> None:
    """Serve with the key that the settings name."""
    try:
        key = Settings.load().local_llm_key
    except BadSettings as error:
        sys.exit(f"The local model cannot run: {error}")
    if key is None:
        sys.exit("COHORT_LOCAL_LLM_KEY is not set: callers and this server must share one. `cohort up` makes its own.")
    serve(port, key.get_secret_value(), host)


def main() -> None:
    """Serve on the port of the command line."""
    run(int(sys.argv[1]))


if __name__ == "__main__":
    main()
