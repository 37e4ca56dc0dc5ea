"""How does each family of models read pictures and answer?

One small file per family; torch and transformers are known here and nowhere else. Their own image
processing and forward passes are used, so that published accuracy is inherited: what is added is
class by token, decoding in chunks, masks inside their boxes, and loading that runs no code.
"""
