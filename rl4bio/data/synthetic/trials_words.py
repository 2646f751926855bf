"""The word lists of the synthetic trials: interventions, conditions, outcomes, wordings.

`plain` is the wording of the shipped policy's warm start. `varied` and `transfer` ask the same
questions, introduce trials in sentences of their own, and report outcomes in plain clauses and in
about as many new ones. Nothing here is medical knowledge: a trial's label follows from its own
sentences alone.
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


PLAIN = Wording(
    ask_lower=(
        "Does {d} reduce {o} in {c}?",
        "Does {d} lower {o} in patients with {c}?",
        "Is {o} reduced by {d} in {c}?",
        "Is {o} lower with {d} in patients with {c}?",
    ),
    ask_higher=(
        "Does {d} increase {o} in {c}?",
        "Does {d} raise {o} in patients with {c}?",
        "Is {o} increased by {d} in {c}?",
        "Is {o} higher with {d} in patients with {c}?",
    ),
    cohort=(
        "{m} patients with {c} were assigned to {d} or {k}.",
        "We randomised {m} adults with {c} to {d} or {k}.",
    ),
    noise=(
        "Mean age was {y} years.",
        "Follow-up lasted {w} weeks.",
        "{q} patients left the study early.",
    ),
    lead=(
        "For {o},",
        "Regarding {o},",
        "As to {o},",
        "In the analysis of {o},",
    ),
    findings={
        "lower": (
            "{d} was lower than {k}{n}",
            "{d} gave a significant reduction{n}",
            "values fell with {d}{n}",
            "{d} reduced it clearly{n}",
            "levels dropped after {d}{n}",
            "the {d} group ended below the {k} group{n}",
        ),
        "higher": (
            "{d} was higher than {k}{n}",
            "{d} gave a significant increase{n}",
            "values rose with {d}{n}",
            "{d} raised it clearly{n}",
            "levels climbed after {d}{n}",
            "the {d} group ended above the {k} group{n}",
        ),
        "null": (
            "{d} and {k} were similar{n}",
            "there was no difference between groups{n}",
            "{d} had no effect{n}",
            "{d} did not differ from {k}{n}",
            "the groups were equal{n}",
        ),
        "trend_lower": (
            "{d} showed a trend to lower values{n}",
            "a reduction with {d} was not certain{n}",
            "values fell with {d} but not significantly{n}",
            "a drop after {d} fell short of significance{n}",
        ),
        "trend_higher": (
            "{d} showed a trend to higher values{n}",
            "an increase with {d} was not certain{n}",
            "values rose with {d} but not significantly{n}",
            "a rise after {d} fell short of significance{n}",
        ),
        "split_lower": (
            "{d} was lower at {w} weeks but not at {x} weeks",
            "{d} was lower in women but not in men",
            "values fell with {d} at first but not later",
        ),
        "split_higher": (
            "{d} was higher at {w} weeks but not at {x} weeks",
            "{d} was higher in women but not in men",
            "values rose with {d} at first but not later",
        ),
        "missing": (
            "too few patients had data",
            "only {q} patients were measured and no analysis was possible",
            "results were missing for most patients",
        ),
    },
)


def beside_plain(findings: dict[Finding, tuple[str, ...]]) -> dict[Finding, tuple[str, ...]]:
    """New clauses together with the plain ones, for every finding."""
    return {finding: (*PLAIN.findings[finding], *clauses) for finding, clauses in findings.items()}


WORDINGS: dict[str, Wording] = {
    "plain": PLAIN,
    "varied": Wording(
        ask_lower=PLAIN.ask_lower,
        ask_higher=PLAIN.ask_higher,
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
        lead=(
            *PLAIN.lead,
            "With respect to {o},",
            "In terms of {o},",
            "When {o} was analysed,",
        ),
        findings=beside_plain(
            {
                "lower": (
                    "a clear drop was seen with {d}{n}",
                    "the {d} arm was below the {k} arm{n}",
                    "a significant fall followed {d}{n}",
                    "{d} lowered values against {k}{n}",
                ),
                "higher": (
                    "a clear rise was seen with {d}{n}",
                    "the {d} arm was above the {k} arm{n}",
                    "a significant gain followed {d}{n}",
                    "{d} raised values against {k}{n}",
                ),
                "null": (
                    "no effect of {d} was seen{n}",
                    "the {d} arm and the {k} arm did not differ{n}",
                    "values were similar with {d} and with {k}{n}",
                    "nothing separated {d} from {k}{n}",
                ),
                "trend_lower": (
                    "a drop with {d} was seen but was not significant{n}",
                    "the fall after {d} was short of significance{n}",
                ),
                "trend_higher": (
                    "a rise with {d} was seen but was not significant{n}",
                    "the gain after {d} was short of significance{n}",
                ),
                "split_lower": (
                    "a drop was seen with {d} at week {w} but not at week {x}",
                    "a clear drop was seen with {d} in men but not in women",
                ),
                "split_higher": (
                    "a rise was seen with {d} at week {w} but not at week {x}",
                    "a clear rise was seen with {d} in men but not in women",
                ),
                "missing": (
                    "most participants had no data",
                    "the measurements were too few for an analysis",
                ),
            }
        ),
    ),
    "transfer": Wording(
        ask_lower=PLAIN.ask_lower,
        ask_higher=PLAIN.ask_higher,
        cohort=(
            "Allocation of {m} individuals living with {c} was to {d} or to {k}.",
            "{d} was tested against {k} in {m} individuals with {c}.",
        ),
        noise=(
            "The median age of individuals was {y}.",
            "Visits took place every {w} weeks.",
            "Funding came from {q} centres.",
        ),
        lead=(
            "On {o},",
            "Concerning {o},",
            "For the outcome {o},",
        ),
        findings=beside_plain(
            {
                "lower": (
                    "we found less with {d} than with {k}{n}",
                    "{d} brought a significant decline{n}",
                    "levels were down after {d}{n}",
                ),
                "higher": (
                    "we found more with {d} than with {k}{n}",
                    "{d} brought a significant climb{n}",
                    "levels were up after {d}{n}",
                ),
                "null": (
                    "we found the same with {d} as with {k}{n}",
                    "{d} brought no change{n}",
                    "levels stayed equal after {d} and after {k}{n}",
                ),
                "trend_lower": (
                    "levels were down after {d} but the decline was not certain{n}",
                    "a decline with {d} did not reach significance{n}",
                ),
                "trend_higher": (
                    "levels were up after {d} but the climb was not certain{n}",
                    "a climb with {d} did not reach significance{n}",
                ),
                "split_lower": (
                    "levels were down after {d} at week {w} but not at week {x}",
                    "we found less with {d} in older people but not in younger people",
                ),
                "split_higher": (
                    "levels were up after {d} at week {w} but not at week {x}",
                    "we found more with {d} in older people but not in younger people",
                ),
                "missing": (
                    "data were missing for most people",
                    "too few measurements were made",
                ),
            }
        ),
    ),
}
