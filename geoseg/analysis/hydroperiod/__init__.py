"""How long is there water? Maps of many dates on one grid: how often each pixel, and each pond.

given     which dates, and when
stack     water, and what was seen, at each date
counted   how often a pixel was seen, and wet
rasters   written as GeoTIFFs
lineages  which polygons of all dates are one pond, how large it was, and what of it was seen
events    what became of a pond since it was seen last
table     a row per pond and date
outlines  an outline per pond
whole     in which order
"""
