"""Binding-affinity predictors: gradient-boosted trees over counted fingerprints, stored openly."""
