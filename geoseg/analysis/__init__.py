"""From polygons to answers: how sure is an area, what changed, how good is a map?"""
