"""Scikit-learn for MML: any estimator as a node that is fitted, trained batch by batch, and run."""
