"""An embedding store: the nearest of 40,000 vectors to a question, by brute force over batches.

    python examples/embeddings.py

`get_array` reads the vectors of many keys straight into one array, which is used again for each batch, so
memory holds one batch however many vectors there are. The answer is that of NumPy on all vectors at once.
"""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

import alexpy
from alexpy import codecs

VECTORS, WIDTH, BATCH, NEAREST = 40_000, 128, 8_192, 5


class Embeddings:
    """Vectors of length one by the id of what they stand for."""

    def __init__(self, path: Path) -> None:
        self.store: alexpy.Store[int, Any] = alexpy.open(path, codec=codecs.numpy(np.float32, WIDTH))

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def add(self, ids: np.ndarray, vectors: np.ndarray) -> None:
        """Store many vectors in one commit."""
        self.store.put_many(ids, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))

    def nearest(
        self, question: np.ndarray, count: int, among: np.ndarray | None = None
    ) -> list[tuple[int, float]]:
        """Return ids and cosines of the nearest vectors, nearest first; `among` names those to look at."""
        question = (question / np.linalg.norm(question)).astype(np.float32)
        best_ids, best = np.empty(0, np.int64), np.empty(0, np.float32)
        memory = np.empty((BATCH, WIDTH), np.float32)
        with self.store.snapshot() as snapshot:
            ids = snapshot.keys_array() if among is None else among
            for begin in range(0, len(ids), BATCH):
                part = ids[begin : begin + BATCH]
                vectors = snapshot.get_array(part, np.float32, WIDTH, out=memory[: len(part)])
                best_ids = np.concatenate([best_ids, part])
                best = np.concatenate([best, vectors @ question])
                top = np.argsort(-best, kind="stable")[:count]
                best_ids, best = best_ids[top], best[top]
        return list(zip(best_ids.tolist(), best.tolist(), strict=True))


def same(found: list[tuple[int, float]], ids: np.ndarray, cosines: np.ndarray) -> bool:
    """Say whether these are the best of all, by NumPy on the whole array."""
    order = np.argsort(-cosines, kind="stable")[: len(found)]
    return [key for key, _ in found] == ids[order].tolist() and bool(
        np.allclose([cosine for _, cosine in found], cosines[order], atol=1e-5)
    )


def main() -> None:
    """Fill a store, ask it, take some out, and ask again."""
    chance = np.random.default_rng(5)
    ids = chance.choice(10**9, VECTORS, replace=False)
    vectors = chance.standard_normal((VECTORS, WIDTH)).astype(np.float32)
    whole = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    question = vectors[1234] + 0.5 * chance.standard_normal(WIDTH).astype(np.float32)
    cosines = whole @ (question / np.linalg.norm(question)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors"
        with closing(Embeddings(path)) as embeddings:
            for begin in range(0, VECTORS, BATCH):
                embeddings.add(ids[begin : begin + BATCH], vectors[begin : begin + BATCH])

        with closing(Embeddings(path)) as embeddings:
            print(f"{len(embeddings.store):,} vectors of {WIDTH} numbers")
            found = embeddings.nearest(question, NEAREST)
            if found[0][0] != ids[1234] or not same(found, ids, cosines):
                raise SystemExit(f"WRONG: {found}")
            print(f"nearest of all: {', '.join(f'{key} ({cosine:.3f})' for key, cosine in found)}")

            chosen = np.arange(0, VECTORS, 7)
            found = embeddings.nearest(question, NEAREST, among=ids[chosen])
            if not same(found, ids[chosen], cosines[chosen]):
                raise SystemExit(f"WRONG: {found}")
            print(f"nearest of {len(chosen):,} that a filter left: {found[0][0]} ({found[0][1]:.3f})")

            del embeddings.store[int(ids[1234])]
            found = embeddings.nearest(question, NEAREST)
            others = np.delete(np.arange(VECTORS), 1234)
            if not same(found, ids[others], cosines[others]):
                raise SystemExit(f"WRONG: {found}")
            print(f"without the first: {found[0][0]} ({found[0][1]:.3f})")
            print("every answer is that of NumPy on all vectors at once")


if __name__ == "__main__":
    main()
