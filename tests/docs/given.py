"""What a reader of the pages has before the first line: the files that the pages call theirs.

All of them are small and made up. The names are those that the pages use.
"""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

ENDS = ("O", "N", "F", "Cl", "c1ccccc1", "c1ccncc1", "C(=O)O", "C(=O)N")
MOLECULES = [f"{'C' * length}{end}" for length in range(1, 11) for end in ENDS]
REINVENT = """
[[stage]]
[stage.scoring]
type = "geometric_mean"
[[stage.scoring.component]]
[stage.scoring.component.QED]
[[stage.scoring.component.QED.endpoint]]
name = "QED"
weight = 1
"""


def write_files(folder: Path) -> None:
    """All of them, into a folder."""
    _tables(folder)
    _questions(folder)
    _molgpt(folder)
    (folder / "staged_learning.toml").write_text(REINVENT)
    molecule = "Drug SMILES: {Drug SMILES}\nAnswer:"
    prompts = {
        "BBB_Martins": f"Does it cross the barrier?\n(A) It does not (B) It does\n{molecule}",
        "Lipophilicity_AstraZeneca": f"Its logD, from 000 to 1000?\n{molecule}",
    }
    (folder / "tdc_prompts.json").write_text(json.dumps(prompts))


def _tables(folder: Path) -> None:
    # A molecule's value grows with its chain, and with a ring: there is something to learn.
    values = [f"{4 + 0.1 * len(text) + 2 * ('1' in text):.2f}" for text in MOLECULES]
    header = {"egfr": "smiles,pic50", "egfr_pic50": "smiles,pic50", "bace_pic50": "smiles,pic50"}
    for name, columns in {**header, "lipo": "Drug,Y"}.items():
        rows = map(",".join, zip(MOLECULES, values, strict=True))
        (folder / f"{name}.csv").write_text("\n".join([columns, *rows]))
    letters = [f"{text},{number % 3 % 2}" for number, text in enumerate(MOLECULES)]
    (folder / "bbbp.csv").write_text("\n".join(["smiles,y", *letters]))
    for name in ("actives.csv", "moses2.csv"):
        (folder / name).write_text("\n".join(["smiles", *MOLECULES]))
    rings = [text for text in MOLECULES if "1" in text]
    cores = ["c1ccccc1" if "ccccc" in text else "c1ccncc1" for text in rings]
    rows = [f"{a},{b},{len(a) / 10}" for a, b in zip(rings, cores, strict=True)]
    with gzip.open(folder / "moses2_sample.csv.gz", "wt") as stream:
        stream.write("\n".join(["smiles,scaffold_smiles,logp", *rows]))


def _questions(folder: Path) -> None:
    records = {
        str(number): {
            "QUESTION": f"Does drug number {number} lower the pain?",
            "CONTEXTS": [f"{number} patients took it.", f"Pain fell in {number} of them."],
            "LABELS": ["METHODS", "RESULTS"],
            "LONG_ANSWER": f"Drug number {number} lowered the pain.",
            "final_decision": ("yes", "no", "maybe")[number % 3],
        }
        for number in range(24)
    }
    (folder / "ori_pqal.json").write_text(json.dumps(records))
    letters = "ABCD"
    asked = [
        {
            "question": f"{_words(number)}?",
            "options": {letter: f"illness {letter.lower()}{number}" for letter in letters},
            "answer_idx": letters[number % 4],
            "answer": f"illness {letters[number % 4].lower()}{number}",
        }
        for number in range(24)
    ]
    for name in ("medqa.jsonl", "mmlu_medical.jsonl", "medqa_usmle_5options_test.jsonl"):
        (folder / name).write_text("\n".join(map(json.dumps, asked)))
    (folder / "medqa_test.jsonl").write_text(
        "\n".join(
            json.dumps({**row, "question": f"{_words(99 + n)}?"}) for n, row in enumerate(asked)
        )
    )
    traces = [
        {"Question": row["question"], "Complex_CoT": "Sign by sign.", "Response": row["answer"]}
        for row in asked
    ]
    (folder / "huatuogpt_o1_demo.jsonl").write_text("\n".join(map(json.dumps, traces)))
    rows = [f"{n},{_words(n)}?,one,two,three,{n % 3 + 1},So it is." for n in range(12)]
    (folder / "mine.csv").write_text("\n".join(["nr,stem,opt1,opt2,opt3,key,why", *rows]))
    (folder / "my_folder").mkdir()
    for split in ("train", "val", "test"):
        own = [f"{split}{n},Does {split} number {n} help?,yes" for n in range(4)]
        (folder / "my_folder" / f"{split}.csv").write_text("\n".join(["id,question,answer", *own]))


def _words(seed: int) -> str:
    """Eight words that no other question has."""
    draw = random.Random(seed)
    return " ".join("".join(draw.choices("abcdeilmnorstu", k=6)) for _ in range(8))


def _molgpt(folder: Path) -> None:
    """A small MolGPT as its published code writes one."""
    import torch

    from rl4bio.modules.molgpt.files import published_state
    from rl4bio.modules.molgpt.new import new_molgpt
    from rl4bio.sections import NewMolGPTConfig

    vocabulary = {token: number for number, token in enumerate("#()1<=CFNOcnl")}
    vocabulary["Cl"] = vocabulary.pop("l")
    torch.manual_seed(1)
    shape = NewMolGPTConfig(num_layers=1, num_heads=8, width=256, block_size=54)
    model = new_molgpt(shape, lambda: vocabulary, attention="eager")[1]
    torch.save(published_state(model), folder / "molgpt.pt")
    (folder / "moses2_stoi.json").write_text(json.dumps(vocabulary))
