"""Benches: data, their split and measures, each the ground of several claims.

Here: ``planted`` (dictionaries of known truth), ``language`` (the resident models' text and
activations), ``images`` (probes of images from few labels), ``factors`` (disentanglement),
``samples`` (likelihoods and codes against a prior), ``tables`` (anomalies), ``clusters``,
``retrieval``. Their place is here also for rate, fields, series, separation and brain.
"""
