"""Histories of shipping by seed: a place whose calls fail in every way, made-up stores, and what must hold.

A writer commits, pushes, is killed after any call, is cut back and goes on, is copied with all it remembers,
restored from a shipment, forked. Others push, restore, follow, pin and expire in the middle of its calls. All
of it runs through the code of alexpy.ship but for the backup and the directories: a store here is a dict of
small files.
"""

from __future__ import annotations

import copy
import json
import random
import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from alexpy.errors import CorruptionError, FencedError
from alexpy.ship import _expire, _follow, _memory, _mirror, _pins, _push, _restore, _shipment
from alexpy.ship._memory import Memory
from alexpy.ship._objects import Meta
from alexpy.ship._push import Push

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from alexpy.ship._shipment import Shipment

    Files = dict[str, bytes]

DAY = 24 * 3600.0
PIECE_BYTES = 16
# Of a hundred calls, so many fail in some way: one of these, drawn for each history.
FAILING = (0, 2, 5, 12, 30)
# What happens, with its weight: one thing after another, and in the middle of another.
STEPS = {
    "commit": 6,
    "recover": 2,
    "push": 10,
    "fork": 1,
    "restore": 1,
    "copy": 1,
    "read": 2,
    "follow": 6,
    "expire": 2,
    "wait": 1,
}
BETWEEN = {
    "commit": 4,
    "recover": 1,
    "push": 6,
    "fork": 1,
    "restore": 1,
    "copy": 1,
    "read": 2,
    "follow": 2,
    "expire": 6,
}
MIRRORS = 2


class KilledError(BaseException):
    """The process ends here. No code of alexpy may catch it and go on."""


class LostError(OSError):
    """The place did not answer, or refused."""


class Bucket:
    """The objects of a place, and requests that are still on their way to it."""

    def __init__(self) -> None:
        self.there: dict[str, tuple[bytes, float]] = {}
        self.on_their_way: list[Callable[[], object]] = []
        self.clock = 1e9
        self.made: dict[int, list[bytes]] = {}

    def put(self, key: str, data: bytes) -> None:
        self.there[key] = data, self.clock

    def put_if_absent(self, key: str, data: bytes) -> bool:
        if key in self.there:
            return False
        self.put(key, data)
        number = re.fullmatch(r"manifests/(\d+)\.json", key)
        if number is not None:
            self.made.setdefault(int(number[1]), []).append(data)
        return True

    def get(self, key: str) -> bytes:
        if key not in self.there:
            raise FileNotFoundError(key)
        return self.there[key][0]

    def head(self, key: str) -> Meta | None:
        if key not in self.there:
            return None
        data, modified = self.there[key]
        return Meta(key, len(data), None, modified)

    def list(self, folder: str) -> list[Meta]:
        return [self.head(key) for key in self.there if key.startswith(f"{folder}/")]  # type: ignore[misc]

    def top(self) -> set[str]:
        return {key.split("/")[0] for key in self.there}

    def delete(self, keys: Iterable[str]) -> None:
        for key in list(keys):
            self.there.pop(key, None)

    def settle(self, key: str) -> None:
        """Do nothing: what is there is safe."""

    def sweep(self, *_args: object) -> list[int]:
        """Find nothing: objects are whole when they are there."""
        return []

    def let_arrive(self) -> None:
        """Let everything that is on its way arrive."""
        for request in self.on_their_way:
            request()
        self.on_their_way.clear()


CHANGES = {"put", "put_if_absent", "delete"}


class Client:
    """A bucket as one process sees it; `between` runs before each call, `dies_at` counts calls."""

    place = "the bucket"
    folder = None

    def __init__(
        self,
        bucket: Bucket,
        rng: random.Random,
        between: Callable[[], object] = lambda: None,
        *,
        failing: int,
        dies_at: int | None = None,
    ) -> None:
        self._bucket = bucket
        self._rng = rng
        self._between = between
        self._failing = failing
        self._dies_at = dies_at
        self._calls = 0

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> Any:
            self._between()
            args = tuple(arg if isinstance(arg, str | bytes | float) else list(arg) for arg in args)
            answer = self._carried(name, args)
            self._calls += 1
            if self._calls == self._dies_at:
                raise KilledError
            return answer

        return call

    def _carried(self, name: str, args: tuple[Any, ...]) -> Any:
        bucket, rng = self._bucket, self._rng
        while bucket.on_their_way and rng.random() < 0.2:
            # In another order than they were sent.
            bucket.on_their_way.pop(rng.randrange(len(bucket.on_their_way)))()
        request = getattr(bucket, name)
        if rng.randrange(100) >= self._failing:
            return request(*args)
        way = rng.choice(["dropped", "unanswered", "repeated", "delayed", "truncated"])
        if way == "repeated":
            request(*args)
            return request(*args)
        if way == "truncated" and name in {"put", "put_if_absent"}:
            key, data = args
            return request(key, data[: rng.randrange(len(data))] if data else data)
        if way == "truncated" and name == "get":
            # The size of what is there is known, and compared.
            request(*args)
        if way == "unanswered" and name in CHANGES:
            request(*args)
        if way == "delayed" and name in CHANGES:
            bucket.on_their_way.append(lambda: request(*args))
        raise LostError(f"{name} {way}")


@dataclass(frozen=True)
class Made:
    """A store after some commits: what `Push` reads of a backup."""

    files: Files
    seq: int
    past: tuple[int, ...]
    """Every commit has a number of its own: those that led here."""
    cuts: tuple[tuple[int, int], ...] = ()
    unused: tuple[int, int] = (2, 1)
    """The number of a segment, and a sequence: what is lower may have been given."""
    store_id: str = "5" * 32

    @property
    def sizes(self) -> dict[str, int]:
        return {name: len(data) for name, data in self.files.items()}

    def read(self, name: str, offset: int, size: int) -> bytes:
        return self.files[name][offset : offset + size]

    def mark(self, name: str) -> str:
        # The last segment grows; each begins with a salt.
        return "" if name == max(self.files) or name.startswith("MANIFEST") else self.files[name][:8].hex()


class Remembered(Memory):
    """A memory that is written whole or not at all, and can be killed with its process."""

    kept: Memory

    @classmethod
    def of(cls, kept: Memory) -> Remembered:
        made = cls(None, copy.deepcopy(kept.lines), dict(kept.begun))
        made.kept = kept
        return made

    def save(self) -> None:
        self.kept.lines, self.kept.begun = copy.deepcopy(self.lines), dict(self.begun)


@dataclass
class Writer:
    """A directory with a store, and what lies in its file SHIP."""

    made: Made
    memory: Memory = field(default_factory=lambda: Memory(None))
    is_fenced: bool = False
    is_copy: bool = False
    """Opening a store begins a segment: only one copy goes on in the one that there was."""
    is_pushed: bool = False
    """One push of a directory at a time: it is locked."""
    before: tuple[Made, ...] = ()
    """What it was: recovery may cut it back to one of these."""


class Mirror:
    """A directory that follows: files, of which so many bytes count, and a process that may be killed.

    What is flushed survives the process anyway; tests/test_ship.py and the engine's cut the power.
    """

    path = "the mirror"

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.failing = 0
        self.files: Files = {}
        self.noted: list[Any] = []
        self.listed: tuple[int, dict[str, int]] = 0, {}
        """The generation, and the bytes that count: written as one."""
        self.is_open = False

    @property
    def shown(self) -> Any:
        found = [one for one in self.noted if one.generation == self.listed[0]]
        assert found or not self.listed[0], "nobody knows what the mirror shows"
        return found[0] if found else None

    @property
    def ends(self) -> dict[str, int]:
        return self.listed[1]

    def contents(self) -> Files:
        return {name: self.files[name][:end] for name, end in self.ends.items()}

    def read(self, name: str, offset: int, size: int) -> bytes:
        return self.files.get(name, b"")[offset : offset + size]

    def mark(self, name: str) -> str:
        return self.files[name][:8].hex()

    def write(self, name: str, offset: int, data: bytes) -> None:
        assert offset >= self.ends.get(name, 0), "what counts is written to"
        before = self.files.get(name, b"").ljust(offset, b"\0")
        if self._dies():
            # In the middle of it, where the file is as long as it will be, or is not.
            written = data[: self._rng.randrange(len(data) + 1)]
            data = written.ljust(len(data), b"\0") if self._rng.random() < 0.5 else written
            self.files[name] = before[:offset] + data + before[offset + len(data) :]
            raise KilledError
        self.files[name] = before[:offset] + data + before[offset + len(data) :]

    def finish(self, shipment: Shipment, manifest: bytes) -> None:
        ends = json.loads(manifest)
        self._may_die()
        self.noted = [*([self.shown] if self.shown else []), _mirror.shown_by(shipment)]
        self._may_die()
        for name, end in ends.items():
            # As the engine does.
            assert len(self.files.get(name, b"")) >= end, "a file is missing, or cut short"
        # There is room for what the last segment will hold.
        self.files[max(ends)] = self.files[max(ends)].ljust(self._rng.randrange(200), b"\0")
        self.listed = shipment.generation, ends
        self.settle()

    def settle(self) -> None:
        for name in [name for name in self.files if name not in self.ends]:
            self._may_die()
            del self.files[name]

    def _may_die(self) -> None:
        if self._dies():
            raise KilledError

    def _dies(self) -> bool:
        return self._rng.randrange(400) < self.failing


class History:
    """One history. `run` makes it, `check` says what must hold after it."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.bucket = Bucket()
        self.commits = 0
        first = Made(
            {"MANIFEST-A": b'{"seg-00000001.log": 8}', "seg-00000001.log": self.rng.randbytes(8)}, 0, ()
        )
        self.writers = [Writer(first)]
        self.sent: dict[str, Made] = {}
        """What each manifest shows, by its nonce."""
        self.answered: list[Shipment] = []
        self.forks: set[str] = set()
        self.depth = 0
        # So many things happen in the middle of others, or a few histories would never end.
        self.left = 60
        self.mirrors = [Mirror(self.rng) for _ in range(MIRRORS)]
        self.failing = self.rng.choice(FAILING)
        for mirror in self.mirrors:
            mirror.failing = self.failing

    # --- what can happen --------------------------------------------------------------------------------

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step()

    def step(self, weights: dict[str, int] = STEPS) -> None:
        rng = self.rng
        writer = rng.choice(self.writers)
        (what,) = rng.choices(list(weights), list(weights.values()))
        if what in {"commit", "recover"}:
            (self.commit if what == "commit" else self.recover)(writer)
        elif what == "push":
            self.push(writer)
        elif what == "fork":
            self.push(writer, fork=True)
        elif what == "restore" and len(self.writers) < 4:
            self.restore()
        elif what == "copy" and len(self.writers) < 4:
            # As `cp -r`: with all that it remembers.
            self.writers.append(replace(copy.deepcopy(writer), is_pushed=False, is_copy=True))
        elif what == "read":
            self.read()
        elif what == "follow":
            self.follow(rng.choice(self.mirrors))
        elif what == "expire":
            self.expire()
        elif what == "wait":
            # No request is on its way for days.
            self.bucket.let_arrive()
            self.bucket.clock += rng.choice([0.5, 2, 9]) * DAY

    def client(self) -> Client:
        dies_at = self.rng.randrange(1, 15) if self.rng.randrange(100) < self.failing else None
        return Client(self.bucket, self.rng, self.between, failing=self.failing, dies_at=dies_at)

    def between(self) -> None:
        """Something else may happen in the middle of a call: all of it, or until it is killed."""
        if self.depth < 2 and self.rng.random() < 0.06:
            self.depth += 1
            while self.left and self.rng.random() < 0.7:
                self.left -= 1
                self.step(BETWEEN)
            self.depth -= 1

    def commit(self, writer: Writer) -> None:
        rng, before = self.rng, writer.made
        self.commits += 1
        files = dict(before.files)
        if len(files) > 3 and rng.random() < 0.3:
            # Compaction.
            del files[min(name for name in files if name.startswith("seg"))]
        last = max(files)
        if writer.is_copy or rng.random() < 0.2:
            writer.is_copy = False
            last = f"seg-{before.unused[0]:08x}.log"
            files[last] = rng.randbytes(8)
        files[last] += rng.randbytes(rng.randrange(1, 40))
        seq = max(before.seq, before.unused[1] - 1) + rng.randrange(1, 5)
        unused = max(before.unused[0], int(last[4:12], 16) + 1), seq + 1
        writer.made = Made(listed(files), seq, (*before.past, self.commits), before.cuts, unused)
        writer.before = (*writer.before[-5:], before)

    def recover(self, writer: Writer) -> None:
        """The writer was killed: what was not proven is written again. Or it was damaged, and is cut back."""
        rng, now = self.rng, writer.made
        # What counts is all of it, or what was there a few commits ago, which may lie in the same segment.
        kept = rng.choice([now, now, *writer.before])
        proven = rng.choice([one for one in (*writer.before, now) if one.seq <= kept.seq])
        segment, seq = now.unused
        files = dict(proven.files)
        # Sequences are never used twice, nor are the numbers of segments.
        seq += rng.randrange(3)
        cuts = (*(cut for cut in now.cuts if cut[1] <= kept.seq), (kept.seq, seq))
        is_proven = proven.past == kept.past
        files[f"seg-{segment:08x}.log"] = rng.randbytes(8 if is_proven else 20)
        reached = kept.seq if is_proven else seq + rng.randrange(3)
        unused = segment + 1, max(seq, reached + 1)
        writer.made = Made(listed(files), reached, kept.past, cuts, unused)
        writer.is_copy = False
        writer.before = tuple(one for one in writer.before if one.seq <= proven.seq)

    def lacks(self, writer: Writer) -> bool:
        """Say whether commits that the writer has shipped, or has tried to, are gone from it."""
        lines = writer.memory.lines.values()
        nonces = {nonce for line in lines for nonce in (line.nonce, *(tried for _, tried in line.tried))}
        pasts = [self.sent[nonce].past for nonce in nonces if nonce in self.sent]
        return any(past != writer.made.past[: len(past)] for past in pasts)

    def push(self, writer: Writer, *, fork: bool = False) -> None:
        if writer.is_pushed:
            return
        writer.is_pushed = True
        made, may_go_on = writer.made, fork or not writer.is_fenced or self.may_fork(writer)
        stood = {line.nonce for line in writer.memory.lines.values()}
        push = Push(self.client(), Remembered.of(writer.memory), "here", fork=fork, threads=1)  # type: ignore[arg-type]
        push._publish = self.noting(push._publish, made, fork=fork)  # type: ignore[method-assign]
        try:
            self.answered.append(push.run(made))
        except FencedError:
            assert not fork
            assert len(self.writers) > 1 or self.lacks(writer), "the only writer was fenced"
            # A fork may be on its way.
            writer.is_fenced = not self.may_fork(writer)
        except (KilledError, LostError, CorruptionError):
            # Before it failed it may have found that a fork which it knew of had come through.
            found = {line.nonce for line in writer.memory.lines.values()} - stood
            writer.is_fenced &= not self.may_fork(writer) and self.forks.isdisjoint(found)
        else:
            assert may_go_on, "a fenced writer went on"
            writer.is_fenced = False
        writer.is_pushed = False

    def may_fork(self, writer: Writer) -> bool:
        tried = [nonce for line in writer.memory.lines.values() for _, nonce in line.tried]
        return not self.forks.isdisjoint(tried)

    def noting(self, publish: Callable[..., Any], made: Made, *, fork: bool) -> Callable[..., Any]:
        def noted(base: Any, *args: Any) -> Any:
            def encode(shipment: Shipment) -> bytes:
                self.sent[shipment.nonce] = made
                if fork:
                    self.forks.add(shipment.nonce)
                return _shipment.encode(shipment)

            with replaced(_push, "encode", encode):
                return publish(base, *args)

        return noted

    def restore(self) -> None:
        shipment = self.read()
        if shipment is not None:
            memory = Memory(None)
            memory.line(shipment.lineage).reaches(shipment)
            made = self.sent[shipment.nonce]
            # What led here, and not what a copy shipped that was cut back and made no commit since.
            before = [
                one
                for one in self.sent.values()
                if one.past == made.past[: len(one.past)] and one.cuts == made.cuts[: len(one.cuts)]
            ]
            self.writers.append(Writer(made, memory, is_copy=True, before=tuple(before[-5:])))

    def read(self) -> Shipment | None:
        """Restore the newest shipment or another one, while others go on; its pin keeps it."""
        client: Any = self.client()
        at = self.rng.choice([None, *(one.seq for one in self.answered)])
        try:
            shipment, _ = _restore.pin_found(client, at, None, DAY)
        except (KilledError, OSError, CorruptionError, ValueError):
            return None
        # Whatever happens from here on, nothing that was pinned may be missing.
        sure: Any = Client(self.bucket, self.rng, self.between, failing=0)
        assert fetched(sure, shipment) == self.sent[shipment.nonce].files
        return shipment

    def follow(self, mirror: Mirror) -> None:
        if mirror.is_open:
            # It is locked.
            return
        mirror.is_open = True
        client: Any = self.client()
        before = mirror.shown
        with suppress(KilledError, OSError, CorruptionError):
            try:
                _follow.bring_up(client, mirror, threads=1)
            except FencedError:
                assert before is not None
                assert self.newest_epoch() > before.epoch, "fenced, and no epoch has begun"
        mirror.is_open = False
        self.check_mirror(mirror, before)

    def check_mirror(self, mirror: Mirror, before: Any) -> None:
        """It shows one shipment, the one of before or one that goes on from it."""
        shown = mirror.shown
        if shown is None:
            assert before is None
            return
        made = self.sent[shown.nonce]
        segments = {name: data for name, data in made.files.items() if name.startswith("seg")}
        assert mirror.contents() == segments, "the mirror shows what was never shipped"
        if before is not None:
            past = self.sent[before.nonce].past
            assert made.past[: len(past)] == past, "the mirror went back"
            assert made.seq >= self.sent[before.nonce].seq

    def newest_epoch(self) -> int:
        bodies = [bodies[0] for bodies in self.bucket.made.values()]
        epochs = [0]
        for body in bodies:
            with suppress(CorruptionError):
                epochs.append(_shipment.decode(body, "").epoch)
        return max(epochs)

    def expire(self) -> None:
        client: Any = self.client()
        with suppress(KilledError, LostError, CorruptionError, FileNotFoundError):
            _expire.expire_from(client, self.rng.randrange(1, 4), 0.0)

    # --- what must hold ---------------------------------------------------------------------------------

    def check(self) -> None:
        self.bucket.let_arrive()
        sure: Any = Client(self.bucket, self.rng, failing=0)
        there = _shipment.survey(sure)
        for shipment in there.whole:
            assert fetched(sure, shipment) == self.sent[shipment.nonce].files, shipment
        self.check_order()
        # Whatever was answered is there, or something newer, and what is newest opens.
        if self.answered:
            newest = max(self.answered, key=lambda one: one.generation)
            assert there.whole
            found = there.whole[-1]
            assert found.generation >= newest.generation
            for seq in {one.seq for one in there.whole if found.has_in_its_past(one.epoch, one.generation)}:
                assert _restore.find(sure, seq, found.epoch).seq == seq
        self.check_fences(sure)
        self.check_mirrors(sure)

    def check_order(self) -> None:
        """Each number was given once; what an epoch ships goes on from what it shipped before."""
        last: dict[tuple[str, int], Made] = {}
        owner = {}
        for generation, bodies in sorted(self.bucket.made.items()):
            assert len(bodies) == 1, "a number was given twice"
            try:
                shipment = _shipment.decode(bodies[0], "")
            except CorruptionError:
                continue
            owner[generation] = shipment.nonce
            made, epoch = self.sent[shipment.nonce], (shipment.lineage, shipment.epoch)
            if epoch in last:
                assert made.past[: len(last[epoch].past)] == last[epoch].past, "commits went missing"
            elif shipment.epoch > 1:
                assert shipment.nonce in self.forks, "an epoch began by itself"
            last[epoch] = made
        for shipment in self.answered:
            assert owner[shipment.generation] == shipment.nonce, "an answered push was somebody else's"

    def check_mirrors(self, sure: Any) -> None:
        """Once nothing fails any more, each shows the newest shipment, or an epoch has begun without it."""
        newest = self.newest(sure)
        for mirror in self.mirrors:
            mirror.failing = 0
            before = mirror.shown
            try:
                assert _follow.bring_up(sure, mirror, threads=1) == newest
            except FencedError:
                assert newest is not None
                assert newest.epoch > before.epoch, "fenced, and no epoch has begun"
            except (CorruptionError, FileNotFoundError):
                assert newest is None
            self.check_mirror(mirror, before)

    def check_fences(self, sure: Any) -> None:
        """Writers commit and push once more: each goes on from the newest shipment, or is fenced for good."""
        for writer in self.writers:
            self.commit(writer)
            push = Push(sure, Remembered.of(writer.memory), "here", fork=False, threads=1)
            before = self.newest(sure)
            push._publish = self.noting(push._publish, writer.made, fork=False)  # type: ignore[method-assign]
            may_go_on = not writer.is_fenced or self.may_fork(writer)
            try:
                shipment = push.run(writer.made)
            except (FencedError, CorruptionError) as error:
                assert len(self.writers) > 1 or self.lacks(writer), "the only writer was fenced"
                # Where the newest manifest is damaged, it may be another writer's.
                assert isinstance(error, FencedError) or before is None  # noqa: PT017
                continue
            assert may_go_on, "a fenced writer went on"
            assert fetched(sure, shipment) == writer.made.files
            if before is not None:
                past = self.sent[before.nonce].past
                assert writer.made.past[: len(past)] == past, "commits went missing"

    def newest(self, sure: Any) -> Shipment | None:
        try:
            return _restore.find(sure, None, None)
        except (CorruptionError, FileNotFoundError):
            return None


def listed(files: Files) -> Files:
    """Return the files with a manifest of them."""
    sizes = {name: len(data) for name, data in files.items() if name.startswith("seg")}
    return {**files, "MANIFEST-A": json.dumps(sizes).encode()}


def fetched(objects: Any, shipment: Shipment) -> Files:
    """Return the files of a shipment."""
    files: dict[str, dict[int, bytes]] = {file.name: {} for file in shipment.files}
    _restore.fetch(
        objects, shipment, lambda name, offset, data: files[name].update({offset: data}), threads=1
    )
    return {name: b"".join(data for _, data in sorted(pieces.items())) for name, pieces in files.items()}


@contextmanager
def replaced(module: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


def run_history(seed: int) -> History:
    """Make the history of a seed and check what must hold."""
    history = History(seed)

    def token(size: int) -> str:
        return history.rng.randbytes(size).hex()

    with (
        replaced(_push, "token_hex", token),
        replaced(_memory, "token_hex", token),
        replaced(_pins, "token_hex", token),
        replaced(_push, "PIECE_BYTES", PIECE_BYTES),
        replaced(_push, "_MOST_SMALL", 3),
        replaced(_push, "now", lambda: history.bucket.clock),
        replaced(_expire, "now", lambda: history.bucket.clock),
        replaced(_pins, "now", lambda: history.bucket.clock),
    ):
        history.run(history.rng.randrange(4, 30))
        history.check()
    return history
