"""Logistic regression towards a source, at every ridge, with leave-one-out."""
