"""How does a map become data that a model is trained on? Pictures, labels, and what is kept apart.

`pieces`: which pixels of a polygon lie in which chip; `split`: which chips are for training;
`rings`, `labels`: how masks are written; `replace`: how a folder is whole or not there.
"""
