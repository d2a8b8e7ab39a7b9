"""Benches: data, their split and measures, each the ground of several claims.

Here: ``planted`` (dictionaries of known truth), ``language`` (the resident models' text and
activations), ``images`` (errors and classifiers from few labels), ``factors`` (disentanglement),
``samples`` (likelihoods and codes against a prior), ``retrieval``. Anomalies in tables and clusters
have one claim each, whose page holds what would become ``tables`` and ``clusters`` with a second.
Their place is here also for rate, fields, series, separation and brain.
"""
