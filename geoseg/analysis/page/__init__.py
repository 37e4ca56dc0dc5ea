"""How does a map's report look? One HTML page that fetches nothing, for screen and paper.

document   how is a page built so that nothing from outside is markup in it?
style      how does it look?
figures    how are numbers written?
tables     how is a table built that can be read aloud, and is not cut on paper?
picture    how does the map look?
ground     how much ground was looked at?
recipe     what is said of how the map was made?
opening    what comes first, and what is missing?
areas      how much of each class is there, everywhere and by zone?
accuracy   how right is the map?
change     what became of what?
sources    whose methods are these?
"""
