"""A vector file that cannot be read is one line, which says what is wrong with it."""

from __future__ import annotations

import pytest

from geoseg.errors import ConfigError, MapError
from geoseg.export.read import open_map
from geoseg.vectors import read_layer


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.fgb"])
@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", r"it is empty \(0 bytes\)$"), (b"hello", "it is of no known format, or damaged$")],
)
def test_what_is_no_vector_file_is_told_without_the_advice_of_gdal(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"{name} is no vector layer that can be read: {said}"):
        read_layer(path, "--aoi", "polygons", "the area")
    with pytest.raises(MapError, match=rf"{name} is no map of geoseg, or is damaged: {said}"):
        open_map(path)
