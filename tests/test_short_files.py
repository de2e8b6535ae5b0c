"""A file that is too short for its kind is refused by name, whatever it holds."""

from pathlib import Path

import pytest

import alexpy
from alexpy import AlexIndex


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 4095])
def test_an_index_file_that_is_too_short_is_a_format_error(tmp_path: Path, length: int) -> None:
    whole, short = tmp_path / "whole", tmp_path / "short"
    AlexIndex([1, 2, 3]).save(whole)
    short.write_bytes(whole.read_bytes()[:length])
    with pytest.raises(alexpy.FormatError, match=f"short is too short to be an image .* {length} bytes"):
        AlexIndex.load(short)


def test_a_foreign_file_is_a_format_error(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"SQLite format 3\0" * 1000)
    with pytest.raises(alexpy.FormatError, match="is not an image"):
        AlexIndex.load(foreign)


@pytest.mark.parametrize("length", [0, 1, 63, 111])
def test_a_short_manifest_is_damage_and_its_other_copy_opens_the_store(tmp_path: Path, length: int) -> None:
    with alexpy.open(tmp_path / "store") as store:
        store[1] = b"one"
    copies = [tmp_path / "store" / name for name in ("MANIFEST-A", "MANIFEST-B")]
    copies[0].write_bytes(copies[0].read_bytes()[:length])
    with alexpy.open(tmp_path / "store", read_only=True) as store:
        assert store[1] == b"one"
    copies[1].write_bytes(copies[1].read_bytes()[:length])
    with pytest.raises(alexpy.CorruptionError, match="MANIFEST"):
        alexpy.open(tmp_path / "store")


def test_an_image_of_ten_bytes_costs_time_but_no_data(tmp_path: Path) -> None:
    with alexpy.open(tmp_path / "store", checkpoint_tail_bytes=1) as store:
        store.update(dict.fromkeys(range(1000), b"value"))
    images = list((tmp_path / "store").glob("img-*.idx"))
    assert images
    for image in images:
        image.write_bytes(b"ALEXIMG\0ab")
    with alexpy.open(tmp_path / "store") as store:
        assert len(store) == 1000
        assert store[999] == b"value"
