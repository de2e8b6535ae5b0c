"""How much of everything a run does: one frozen dataclass, and the sizes with names."""

from __future__ import annotations

from dataclasses import dataclass, fields

# Enough for sixteen threads to have one each, and for a range of a hundred keys after the last start.
_LEAST = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Counts of keys and calls. The defaults are those of the targets."""

    repetitions: int = 3
    keys: int = 1_000_000
    """Keys of the table 'The store, from Python', and of the index."""
    batch: int = 10_000
    puts: int = 100_000
    gets: int = 200_000
    ranges: int = 10_000
    range_keys: int = 100
    deletes: int = 100_000
    commits: int = 3_000
    """Durable commits of one item; a third as many of a hundred."""
    large_keys: int = 10_000_000
    huge_keys: int = 100_000_000
    """Of the index only."""
    huge_rows: int = 100_000_000
    hard_keys: int = 3_000_000
    """The most keys of a real set."""
    refreshed: int = 100_000
    """Records that a reader has not seen when it is refreshed."""
    tail: int = 100_000
    """Records that a killed writer had added to the large store since it was opened."""
    long_tail: int = 1_000_000
    """The same, where nothing bounds it."""
    flights: int = 336_776
    """Values of two kinds that compress: all that left New York City in 2013."""
    growth_milliseconds: int = 12_000
    """How long each writer writes that never pauses."""
    sessions: int = 401
    mix_records: int = 100_000
    mix_operations: int = 100_000
    mix_value_bytes: int = 1_000
    distribution_keys: int = 200_000
    kib_values: int = 200_000
    wide_values: int = 4_000
    """Values of 64 KiB."""
    latencies: int = 100_000
    care_keys: int = 200_000
    squeezed_values: int = 500_000
    """Values of 1 KiB, four times as many bytes as there is memory to read them with."""
    squeezed_gets: int = 20_000
    squeezed_batch: int = 5_000
    """Of those gets, in each batch call."""

    def scaled(self, keys: int) -> Sizes:
        """Return every count in proportion to `keys` instead of a million, repetitions and ranges aside."""
        share = keys / self.keys
        kept = {"repetitions", "range_keys", "mix_value_bytes"}
        return Sizes(
            **{
                field.name: getattr(self, field.name)
                if field.name in kept
                else max(_LEAST, round(getattr(self, field.name) * share))
                for field in fields(self)
            }
        )


FULL = Sizes()
QUICK = FULL.scaled(100_000)
