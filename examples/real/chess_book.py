"""A chess opening book: the moves of a position, beside python-chess's reader of Polyglot books.

The store has the hash of a position as its key, an unsigned integer of 64 bits, and the book's own records of
that position as its value: move, weight and learn data, 8 bytes each. python-chess bisects the book's file,
which it maps into memory. `make real-chess_book` takes the book out of python-chess's source archive.
"""

from __future__ import annotations

import random
import struct
import sys
import time
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import chess
import numpy as np
from chess.polyglot import Entry, open_reader, zobrist_hash

import alexpy
from judge import SEED, Judge, run

if TYPE_CHECKING:
    Book = alexpy.Store[int, bytes]

FILE = Path(__file__).resolve().parents[2] / ".real" / "performance.bin"
RECORD = np.dtype([("key", ">u8"), ("rest", "V8")])
MOVE_WEIGHT_LEARN = struct.Struct(">HHI")
# A game follows the book in so many of a hundred moves, and ends after so many.
FOLLOWS = 95
PLIES = 24


def load(book: Book, file: Path) -> None:
    """Copy a book: the value of a position is all that the file says of it, in the file's order."""
    records = np.fromfile(file, RECORD)
    keys, starts = np.unique(records["key"], return_index=True)
    data = records["rest"].tobytes()
    edges = [*(8 * starts).tolist(), len(data)]
    book.bulk_load(keys, [data[start:stop] for start, stop in pairwise(edges)])


def entries(key: int, value: bytes) -> list[Entry]:
    """Return what the value of a position says, as python-chess has it; a weight of 0 means deleted."""
    return [
        Entry(key, move, weight, learn, chess.Move(move >> 6 & 63, move & 63, _promotion(move)))
        for move, weight, learn in MOVE_WEIGHT_LEARN.iter_unpack(value)
        if weight
    ]


def _promotion(move: int) -> int | None:
    piece = move >> 12 & 7
    return piece + 1 if piece else None


def moves(book: Book, board: chess.Board) -> list[tuple[chess.Move, int]]:
    """Return the legal moves that the book has for a board, each with its weight."""
    key = zobrist_hash(board)
    found = []
    for _, _, weight, _, move in entries(key, book.get(key, b"")):
        with suppress(chess.IllegalMoveError):
            # Polyglot writes castling as the king that takes its rook; the board makes it a move of its own.
            found.append((board.find_move(move.from_square, move.to_square, move.promotion), weight))
    return found


def games(book: Book, count: int) -> list[chess.Board]:
    """Return the boards of games that follow the book most of the time."""
    rng = random.Random(SEED)
    boards: list[chess.Board] = []
    while len(boards) < count:
        board = chess.Board()
        for _ in range(PLIES):
            boards.append(board.copy(stack=False))
            known = [move for move, _ in moves(book, board)] if rng.randrange(100) < FOLLOWS else []
            legal = known or list(board.legal_moves)
            if not legal:
                break
            board.push(rng.choice(legal))
    return boards[:count]


def example(judge: Judge) -> None:
    """Load the book, and ask both for every position in it, for absent ones, and for the boards of games."""
    with alexpy.open(judge.folder / "book", key="uint64") as book, open_reader(FILE) as reader:
        began = time.perf_counter()
        load(book, FILE)
        judge.loaded(f"{len(book):,} positions, {len(reader):,} moves of performance.bin", began)
        known = book.sample(min(judge.questions, len(book)), seed=SEED)
        absent = np.random.default_rng(SEED).integers(0, 2**64, len(known), dtype=np.uint64)
        boards = games(book, judge.questions // 10)

        def theirs(keys: list[int]) -> list[list[Entry]]:
            return [list(reader.find_all(key)) for key in keys]

        def ours(keys: list[int]) -> list[list[Entry]]:
            return [entries(key, book.get(key, b"")) for key in keys]

        def ours_at_once(keys: list[int]) -> list[list[Entry]]:
            return [entries(key, value) for key, value in zip(keys, book.get_many(keys, b""), strict=True)]

        def their_moves() -> list[list[tuple[chess.Move, int]]]:
            return [[(entry.move, entry.weight) for entry in reader.find_all(board)] for board in boards]

        everything = book.keys_array()
        for keys, which in (
            (everything, "positions in the book"),
            (np.concatenate([everything - 1, everything + 1]), "hashes beside those"),
            (absent, "hashes drawn at random"),
        ):
            judge.same(which, theirs(keys.tolist()), ours_at_once(keys.tolist()))
        in_book = sum(bool(moves(book, board)) for board in boards)
        judge.same(
            f"boards of games, {in_book:,} of them in the book",
            their_moves(),
            (moves(book, board) for board in boards),
        )
        for keys, which in ((known, "positions in the book"), (absent, "hashes that are not")):
            asked = keys.tolist()
            work = f"{len(asked):,} {which}"
            for how, answer in (("one by one", ours), ("in one call", ours_at_once)):
                judge.beside(f"{work}, {how}", "python-chess", partial(theirs, asked), partial(answer, asked))
        judge.beside(
            f"{len(boards):,} boards, with their hashes",
            "python-chess",
            their_moves,
            lambda: [moves(book, board) for board in boards],
        )
    judge.disk(alexpy=[judge.folder], book=[FILE])


if __name__ == "__main__":
    sys.exit(run(__doc__, example, ("chess",), 100_000))
