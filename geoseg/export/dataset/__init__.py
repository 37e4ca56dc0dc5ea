"""How does a map become data that a model is trained on? Pictures, labels, and what is kept apart.

survey (map) -> pictures (raster) -> split -> labels (map, again) -> replace

`pieces`: which pixels of a polygon lie in which chip; `rings`: masks as polygons.
"""
