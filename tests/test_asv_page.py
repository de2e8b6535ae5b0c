"""The report of `make asv` loads nothing from other hosts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from asv_page import offline

if TYPE_CHECKING:
    from pathlib import Path

# What asv 0.6.6 writes, as far as it loads something, with other hosts and short hashes; and a link to its
# own home, which is there for a click only.
PUBLISHED = """<!doctype html>
<html>
  <head>
    <script src="https://scripts.example/jquery-3.3.1.min.js" integrity="sha256-Fg" crossorigin="anonymous" onerror="js_load_failure()"></script>
    <script src="https://scripts.example/ajax/libs/flot/0.8.3/jquery.flot.min.js" integrity="sha512-eO" crossorigin="anonymous" referrerpolicy="no-referrer" onerror="js_load_failure()"></script>
    <script src="https://scripts.example/ajax/libs/flot/0.8.3/jquery.flot.time.min.js" integrity="sha512-lc" crossorigin="anonymous" referrerpolicy="no-referrer" onerror="js_load_failure()"></script>
    <script src="https://scripts.example/ajax/libs/flot/0.8.3/jquery.flot.selection.min.js" integrity="sha512-3E" crossorigin="anonymous" referrerpolicy="no-referrer" onerror="js_load_failure()"></script>
    <script src="https://scripts.example/ajax/libs/flot/0.8.3/jquery.flot.categories.min.js" integrity="sha512-x4" crossorigin="anonymous" referrerpolicy="no-referrer" onerror="js_load_failure()"></script>
    <script language="javascript" type="text/javascript" src="jquery.flot.axislabels.js"></script>
    <script src="https://styles.example/flot-orderbars@1.0.0/js/jquery.flot.orderBars.js" integrity="sha256-OX" crossorigin="anonymous" onerror="js_load_failure()"></script>
    <script src="https://scripts.example/ajax/libs/stupidtable/1.0.1/stupidtable.min.js" integrity="sha512-GM" crossorigin="anonymous" referrerpolicy="no-referrer" onerror="js_load_failure()"></script>
    <script src="https://scripts.example/ajax/libs/blueimp-md5/2.19.0/js/md5.min.js" integrity="sha512-8p" crossorigin="anonymous" referrerpolicy="no-referrer" onerror="js_load_failure()"></script>
    <script src="https://styles.example/bootstrap@3.1.1/dist/js/bootstrap.min.js" integrity="sha256-iY" crossorigin="anonymous" onerror="js_load_failure()"></script>
    <link rel="stylesheet" href="https://styles.example/bootstrap@3.1.1/dist/css/bootstrap.min.css" integrity="sha256-6V" crossorigin="anonymous">
    <script language="javascript" type="text/javascript"
            src="asv.js">
    </script>
    <link href="asv.css" rel="stylesheet" type="text/css"/>
  </head>
  <body>
    <a href="https://github.com/airspeed-velocity/asv/" target="_blank">airspeed velocity</a>
  </body>
</html>
"""  # noqa: E501
CARRIED = ("md5.min.js", "stupidtable.min.js", "jquery.flot.orderBars.js")


def loaded(page: str) -> list[str]:
    return re.findall(r"<(?:script|link)[^>]*?(?:src|href)=\"([^\"]*)\"", page)


def test_the_page_loads_nothing_from_another_host() -> None:
    page, names = offline.offline(PUBLISHED)
    assert loaded(page) == [
        "jquery.min.js",
        "jquery.flot.min.js",
        "jquery.flot.time.min.js",
        "jquery.flot.selection.min.js",
        "jquery.flot.categories.min.js",
        "jquery.flot.axislabels.js",
        "jquery.flot.orderBars.js",
        "stupidtable.min.js",
        "md5.min.js",
        "bootstrap.min.js",
        "bootstrap.min.css",
        "asv.js",
        "asv.css",
    ]
    assert re.findall(r"https?://[^\"]*", page) == ["https://github.com/airspeed-velocity/asv/"]
    # They were hashes of another host's files: a browser refuses what does not match.
    assert "integrity" not in page
    assert "crossorigin" not in page
    assert set(names) == offline.PACKAGED.keys() | offline.OURS.keys()


def test_a_page_that_was_made_independent_stays_as_it_is() -> None:
    page, _ = offline.offline(PUBLISHED)
    assert offline.offline(page) == (page, [])


@pytest.mark.parametrize(
    "tag",
    [
        '<script src="https://example.org/1.0/charts.js"></script>',
        "<script async src='//example.org/charts.js'></script>",
        '<LINK rel="stylesheet" href="http://example.org/charts.js">',
        '<script\n  src="https://example.org/charts-2.1.js?v=3">\n</script>',
    ],
)
def test_a_script_that_nothing_carries_is_refused_and_spares_the_page(tag: str, tmp_path: Path) -> None:
    index = tmp_path / "index.html"
    index.write_text(PUBLISHED + tag)
    with pytest.raises(offline.UnknownScriptError, match=r"example\.org/.*charts.*asv-page in pyproject"):
        offline.main(tmp_path)
    assert index.read_text() == PUBLISHED + tag
    assert list(tmp_path.iterdir()) == [index]


def test_what_the_page_loads_is_put_beside_it(tmp_path: Path) -> None:
    tags = [tag for tag in PUBLISHED.splitlines() if any(name in tag for name in CARRIED)]
    (tmp_path / "index.html").write_text("\n".join(tags))
    offline.main(tmp_path)
    names = loaded((tmp_path / "index.html").read_text())
    assert sorted(names) == sorted(CARRIED)
    for name in names:
        assert (tmp_path / name).read_bytes() == (offline.HERE / offline.OURS[name]).read_bytes()


def test_the_packages_of_the_scripts_are_those_that_are_locked() -> None:
    locked = (offline.HERE.parents[1] / "requirements-asv-page.txt").read_text()
    pinned = {name.lower() for name in re.findall(r"^([\w.-]+)==", locked, re.MULTILINE)}
    assert {package.lower().replace(".", "-") for package, _ in offline.PACKAGED.values()} == pinned
