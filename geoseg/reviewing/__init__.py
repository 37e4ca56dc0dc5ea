"""How does somebody go through the polygons of a map, and say of each what it is worth?

The public name is the function `geoseg.review`; this package must not be called so.
"""
