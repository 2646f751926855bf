"""New molecules from known ones: crossover, mutation and broods of children.

After the idea of Graph GA (Jensen, 2019, doi:10.1039/C8SC05372C): operators on molecular graphs,
drawn at random, whose results are kept where they are sound molecules.
"""
