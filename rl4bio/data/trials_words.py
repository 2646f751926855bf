"""The word lists of the synthetic trials: interventions, conditions, outcomes, wordings.

Nothing here is medical knowledge: a trial's label follows from its own sentences alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# fmt: off
DRUG_STARTS = (
    "Ab", "Al", "Bel", "Bri", "Cal", "Cor", "Dal", "Del", "Emi", "Eto", "Fal", "Fen", "Gal",
    "Gri", "Ibra", "Ilo", "Kel", "Lam", "Lev", "Lor", "Mav", "Mel", "Nal", "Neb", "Olo", "Ora",
    "Pel", "Pra", "Quin", "Ral", "Riv", "Sal", "Ser", "Tal", "Tez", "Ula", "Vab", "Vel", "Xan",
    "Zol",
)
DRUG_MIDDLES = (
    "ba", "be", "ca", "ce", "da", "di", "fa", "fi", "ga", "go", "la", "le", "li", "lo", "ma",
    "mi", "na", "no", "pa", "pe", "ra", "ri", "sa", "si", "ta", "ti", "va", "ve",
)
DRUG_ENDS = (
    "mab", "nib", "pril", "sartan", "statin", "tide", "vir", "xaban", "zole", "zumab", "lol",
    "fenac", "done", "pine", "cillin",
)
INTERVENTIONS = (
    "yoga", "massage", "music therapy", "a walking programme", "group counselling", "acupuncture",
    "light therapy", "early mobilisation", "home monitoring", "a low-salt diet",
    "nurse-led follow-up", "telephone coaching", "breathing exercises", "a Mediterranean diet",
    "resistance training", "mindfulness training", "compression stockings", "warm saline rinses",
    "vitamin D", "zinc tablets", "fish oil", "green tea extract", "melatonin", "caffeine tablets",
    "a text message service", "chewing gum", "oral iron", "probiotic yoghurt", "cooling blankets",
    "a standing desk", "bright evening light", "dental flossing",
)
CONDITIONS = (
    "asthma", "migraine", "knee osteoarthritis", "type 2 diabetes", "heart failure", "psoriasis",
    "chronic back pain", "atrial fibrillation", "gout", "epilepsy", "anaemia", "stroke", "eczema",
    "Crohn disease", "depression", "insomnia", "hip fracture", "chronic kidney disease", "COPD",
    "multiple sclerosis", "hepatitis C", "rheumatoid arthritis", "sepsis", "pneumonia",
    "glaucoma", "obesity", "hypertension", "tinnitus", "endometriosis", "breast cancer",
    "prostate cancer", "lung cancer", "Parkinson disease", "dementia", "lupus", "cystic fibrosis",
    "sickle cell disease", "coeliac disease", "burn injury", "head injury", "angina",
    "pancreatitis", "cirrhosis", "acne", "urinary incontinence", "varicose veins", "sinusitis",
    "ankle sprain", "restless legs", "shingles",
)
EVENTS = (
    "relapse", "hospital readmission", "falls", "vomiting", "wound infection", "bleeding",
    "seizures", "delirium", "stillbirth", "blood clots", "dry mouth", "skin rash",
    "kidney injury", "recurrent stroke", "urinary infection", "treatment failure",
    "rehospitalisation", "surgical revision", "dizziness", "hair loss", "new fractures",
    "pressure ulcers", "fainting", "oral thrush", "graft rejection",
)
LOWER_BETTER = (
    "pain score", "fatigue score", "depressive symptoms", "length of stay", "blood pressure",
    "fasting glucose", "body weight", "itch intensity", "joint stiffness", "heart rate",
    "C-reactive protein", "anxiety score", "cough frequency", "sleep latency", "tumour size",
    "opioid use", "liver fat", "eye pressure", "symptom burden", "time to recovery",
    "cholesterol", "urinary protein", "tremor severity", "caregiver strain", "missed work days",
)
HIGHER_BETTER = (
    "walking distance", "quality of life", "grip strength", "bone density", "overall survival",
    "sleep duration", "lung function", "haemoglobin", "treatment adherence", "remission",
    "vaccine response", "appetite", "milk supply", "visual acuity", "patient satisfaction",
    "memory score", "wound healing", "pregnancy rate", "physical activity", "muscle mass",
    "oxygen saturation", "hearing threshold gain", "return to work", "oral intake", "knee flexion",
)
COMPARATORS = (
    "placebo", "usual care", "standard treatment", "no treatment", "the control group",
    "a waiting list",
)
# fmt: on

Finding = Literal[
    "lower",
    "higher",
    "null",
    "trend_lower",
    "trend_higher",
    "split_lower",
    "split_higher",
    "missing",
]


@dataclass(frozen=True, kw_only=True)
class Wording:
    """One way to write a trial; `{n}` becomes numbers in brackets or nothing."""

    ask_lower: tuple[str, ...]
    ask_higher: tuple[str, ...]
    cohort: tuple[str, ...]
    noise: tuple[str, ...]
    lead: tuple[str, ...]
    findings: dict[Finding, tuple[str, ...]]


WORDINGS: dict[str, Wording] = {
    "plain": Wording(
        ask_lower=("Does {d} reduce {o} in {c}?", "Does {d} lower {o} in patients with {c}?"),
        ask_higher=("Does {d} increase {o} in {c}?", "Does {d} raise {o} in patients with {c}?"),
        cohort=(
            "{m} patients with {c} were assigned to {d} or {k}.",
            "We randomised {m} adults with {c} to {d} or {k}.",
        ),
        noise=(
            "Mean age was {y} years.",
            "Follow-up lasted {w} weeks.",
            "{q} patients left the study early.",
        ),
        lead=("For {o},", "Regarding {o},", "As to {o},"),
        findings={
            "lower": (
                "{d} was lower than {k}{n}",
                "{d} gave a significant reduction{n}",
                "values fell with {d}{n}",
            ),
            "higher": (
                "{d} was higher than {k}{n}",
                "{d} gave a significant increase{n}",
                "values rose with {d}{n}",
            ),
            "null": (
                "{d} and {k} were similar{n}",
                "there was no difference between groups{n}",
                "{d} had no effect{n}",
            ),
            "trend_lower": (
                "{d} showed a trend to lower values{n}",
                "a reduction with {d} was not certain{n}",
            ),
            "trend_higher": (
                "{d} showed a trend to higher values{n}",
                "an increase with {d} was not certain{n}",
            ),
            "split_lower": (
                "{d} was lower at {w} weeks but not at {x} weeks",
                "{d} was lower in women but not in men",
            ),
            "split_higher": (
                "{d} was higher at {w} weeks but not at {x} weeks",
                "{d} was higher in women but not in men",
            ),
            "missing": (
                "too few patients had data",
                "only {q} patients were measured and no analysis was possible",
            ),
        },
    ),
    "varied": Wording(
        ask_lower=(
            "Can {d} bring down {o} among people with {c}?",
            "In {c}, is {o} reduced by {d}?",
        ),
        ask_higher=(
            "Can {d} bring up {o} among people with {c}?",
            "In {c}, is {o} increased by {d}?",
        ),
        cohort=(
            "This trial compared {d} with {k} in {m} people who had {c}.",
            "A total of {m} participants with {c} received either {d} or {k}.",
        ),
        noise=(
            "Participants were {y} years old on average.",
            "The study ran for {w} weeks at {q} sites.",
            "Protocol deviations occurred in {q} participants.",
            "Groups were comparable at baseline.",
        ),
        lead=("In terms of {o},", "With respect to {o},", "As far as {o} goes,"),
        findings={
            "lower": (
                "a clear drop followed {d}{n}",
                "the {d} arm ended below the {k} arm{n}",
                "{d} brought levels down{n}",
            ),
            "higher": (
                "a clear rise followed {d}{n}",
                "the {d} arm ended above the {k} arm{n}",
                "{d} brought levels up{n}",
            ),
            "null": (
                "the arms could not be told apart{n}",
                "{d} performed like {k}{n}",
                "nothing separated {d} from {k}{n}",
            ),
            "trend_lower": (
                "the drop after {d} fell just short of significance{n}",
                "{d} pointed downward without proof{n}",
            ),
            "trend_higher": (
                "the rise after {d} fell just short of significance{n}",
                "{d} pointed upward without proof{n}",
            ),
            "split_lower": (
                "the drop after {d} was present at week {w} and had vanished by week {x}",
                "{d} brought levels down in older people alone",
            ),
            "split_higher": (
                "the rise after {d} was present at week {w} and had vanished by week {x}",
                "{d} brought levels up in older people alone",
            ),
            "missing": (
                "records were incomplete for most participants",
                "follow-up stopped before it could be judged",
            ),
        },
    ),
    "transfer": Wording(
        ask_lower=("Is {o} lessened by {d} in those with {c}?",),
        ask_higher=("Is {o} enhanced by {d} in those with {c}?",),
        cohort=(
            "Allocation of {m} individuals living with {c} was to {d} or to {k}.",
            "{d} was tested against {k} in {m} individuals with {c}.",
        ),
        noise=(
            "The median age of individuals was {y}.",
            "Visits took place every {w} weeks.",
            "Funding came from {q} centres.",
        ),
        lead=("On {o},", "Concerning {o},", "Looking at {o},"),
        findings={
            "lower": (
                "a decline was seen under {d}{n}",
                "{d} recipients had less than {k} recipients{n}",
                "{d} clearly cut it{n}",
            ),
            "higher": (
                "a gain was seen under {d}{n}",
                "{d} recipients had more than {k} recipients{n}",
                "{d} clearly lifted it{n}",
            ),
            "null": (
                "no contrast emerged between {d} and {k}{n}",
                "{d} left it unchanged{n}",
                "both strategies came out equal{n}",
            ),
            "trend_lower": (
                "a decline under {d} was suggestive only{n}",
                "{d} may have cut it but confidence was weak{n}",
            ),
            "trend_higher": (
                "a gain under {d} was suggestive only{n}",
                "{d} may have lifted it but confidence was weak{n}",
            ),
            "split_lower": (
                "a decline was seen under {d} in one centre and not in the others",
                "{d} cut it at first, yet the gain was lost by week {x}",
            ),
            "split_higher": (
                "a gain was seen under {d} in one centre and not in the others",
                "{d} lifted it at first, yet the gain was lost by week {x}",
            ),
            "missing": (
                "the sample was too small for a judgement",
                "results are awaited",
            ),
        },
    ),
}
