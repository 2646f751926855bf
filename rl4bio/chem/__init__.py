"""Chemistry that data, rewards and evaluation share: SMILES, properties, similarity, pictures.

The only files that import RDKit; `tokens` needs nothing at all.
"""
