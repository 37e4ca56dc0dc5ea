"""Names on the network, and what must not be said of them."""

from __future__ import annotations

import pytest

from geoseg.access import Access, is_network, without_secrets
from geoseg.errors import RasterError
from geoseg.geotiff import open_raster


@pytest.mark.parametrize(
    ("name", "network"),
    [("http://a.org/b.tif", True), ("s3://b/c.tif", True), ("/vsicurl/http://a/b", True),
     ("zip+https://a.org/b.zip!c.tif", True), ("/vsizip//vsis3/b/c.zip/d.tif", True),
     ("/vsicurl?url=http://a", True), ("GS://b/c", True), ("zip://a.zip!b.tif", False),
     ("file:///a.tif", False), ("a.tif", False), ("/data/http/a.tif", False),
     ("NETCDF:a.nc:b", False), ("/vsimem/a.tif", False)],
)  # fmt: skip
def test_what_is_on_the_network(name, network):
    assert is_network(name) is network


def test_secrets_of_urls_are_not_told():
    told = without_secrets(
        "cannot read 'https://me:pw@a.org/b.tif?sig=SECRET&x=1' or s3://b/c.tif: why?"
    )
    assert told == "cannot read 'https://a.org/b.tif' or s3://b/c.tif: why?"


def test_offline_opens_no_socket(monkeypatch):
    def fail(*_args, **_options):
        pytest.fail("opened")

    monkeypatch.setattr("rasterio.open", fail)
    for name in ("https://a.org/b.tif?token=SECRET", "s3://b/c.tif"):
        with pytest.raises(RasterError, match="on the network, and --offline") as caught:
            open_raster(name, access=Access(offline=True))
        assert "SECRET" not in str(caught.value)


def test_an_address_where_no_one_answers_is_a_clear_error():
    with pytest.raises(RasterError, match="cannot be opened over the network") as caught:
        open_raster("http://127.0.0.1:9/scene.tif?token=SECRET")
    assert "SECRET" not in str(caught.value)
    assert "\n" not in str(caught.value)
