"""The other half of a segmenter: point at an object, and have its outline at once."""
