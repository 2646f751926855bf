"""The word lists of the synthetic trials: interventions, conditions, outcomes. No knowledge."""

from __future__ import annotations

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
