"""Rewards of generated molecules: the completion, behind the sample's prefix, is a SMILES."""
