"""Maps in notebooks: a session to point at, a review to go through; needs the extra `notebook`."""
