"""The reactants of a product: a set of molecules."""

from __future__ import annotations

from rl4bio.answers.open import Open
from rl4bio.types import Sample


class Reactants(Open):
    """SMILES of all reactants, with dots between them; the target is one such set."""

    name = "reactants"
    asks = "the SMILES of all reactants, with a dot between two of them,"
    is_molecules = True

    def measures(self, answer: str | None, sample: Sample) -> dict[str, float]:
        """Whether an answer is exactly the set of reactants, and how much alike the two are."""
        from rl4bio.chem.reactants import reactant_similarity, read_reactants, same_reactants

        wanted, said = read_reactants(sample.target or ""), read_reactants(answer or "")
        if not wanted or not said:
            return {"exact_set": 0.0, "tanimoto": 0.0}
        return {
            "exact_set": float(same_reactants(said, wanted)),
            "tanimoto": float(reactant_similarity(said, wanted)),
        }
