"""What an installed alexpy must do, anywhere: run by `make test-wheel` and `make test-sdist`.

The example of the README in short, the command line, and what must lie beside the code. Needs only what the
package needs, and imports it from where it was installed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib.metadata import distribution
from pathlib import Path

import numpy as np

import alexpy

HERE = Path(__file__).resolve().parents[1]


def the_installed_package_is_meant() -> None:
    assert not Path(alexpy.__file__).resolve().is_relative_to(HERE / "python")
    installed = distribution("alexpy")
    assert installed.version == alexpy.__version__ == alexpy.build_info()["version"]
    assert alexpy.build_info()["profile"] == "release"
    files = {file.name: file for file in installed.files or ()}
    for name in ("py.typed", "_alexpy.pyi", "LICENSE-MIT", "LICENSE-APACHE", "THIRD_PARTY_LICENSES.txt"):
        assert name in files, f"{name} is not in the package"


def a_store_keeps_what_it_was_given(path: Path) -> None:
    with alexpy.open(path) as store:
        store[1372896000] = b"fireworks"
        store[1388534400] = b"new year"
        assert store.get(5) is None
        assert store.floor(1380000000) == (1372896000, b"fireworks")
        keys = np.arange(10_000)
        store.put_many(keys, [b"%d" % key for key in keys])
        assert store.get_many(keys[::-1])[0] == b"9999"
        assert store.contains_many(keys + 5).sum() == 9_995
        with store.batch() as batch:
            batch.put(1, b"one")
            batch.delete_range(2, 5)
        with store.snapshot() as before:
            del store[1]
            assert before[1] == b"one"
        store.flush()
    with alexpy.open(path, read_only=True) as store:
        assert len(store) == 9_998
        assert store.verify().ok


def the_command_is_installed(path: Path) -> None:
    command = Path(sys.executable).with_name("alexpy")
    out = subprocess.run([command, "get", path, "7"], check=True, capture_output=True, text=True).stdout
    assert out.strip() == "7", out


if __name__ == "__main__":
    the_installed_package_is_meant()
    with tempfile.TemporaryDirectory() as folder:
        a_store_keeps_what_it_was_given(Path(folder) / "events")
        the_command_is_installed(Path(folder) / "events")
    print(f"alexpy {alexpy.__version__} works with Python {sys.version.split()[0]}: {alexpy.build_info()}")
