"""What a completion says: tags, forms, verdict, choice, bin, molecule, reasoning.

Read by data, rewards and evaluation alike.
"""
