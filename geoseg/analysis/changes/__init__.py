"""What is another class at a later date, and how much of it is there?

ground     how large is each pixel?
seen       which ground did a map look at?
aligned    what is on one grid at each of several dates?
matrix     how many hectares went from each class to each other?
polygons   where did a class become another?
drawing    how does the engine draw them?
linking    which things of two dates are the same?
objects    what became of each object?
shift      do two rasters lie on each other?
given      which two dates are asked for?
compare    in which order does it all happen?
written    how is a table written?
"""
