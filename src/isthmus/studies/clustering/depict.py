"""DEPICT against k-means on an autoencoder's codes, the DEC target, and without its parts."""

from typing import Any

import numpy as np
from sklearn.cluster import KMeans

import isthmus
from isthmus import data
from isthmus.evaluation import Result, ari, clustering_accuracy, nmi
from isthmus.recipes.clustering.depict import STARTS, clusters
from isthmus.studies import Check, Trial, study

CLUSTERS = 10
MAPS = (20, 20)
STEPS = 1200
RATE = 1e-3
ONLY_REBUILD: dict[str, Any] = {"pretraining": 0.98, "start": 0.01}
"""Nearly all of the run for the autoencoder: what the clusters do to it afterwards is nothing."""

VARIANTS: dict[str, dict[str, Any]] = {
    "depict": {},
    "dec-target": {"target": "dec"},
    "no-prior": {"size_prior": False},
    "no-reconstruction": {"reconstruction": 0.0},
    "ae-kmeans": ONLY_REBUILD,
}


@study(
    "depict",
    family="clustering",
    catalogue=96,
    paper="Dizaji, Herandi, Deng, Cai, Huang 2017, Deep Clustering via Joint Convolutional "
    "Autoencoder Embedding and Relative Entropy Minimization",
    statement="Joint noisy cluster prediction and layer-wise reconstruction with a balance prior "
    "cluster better than k-means on an autoencoder's codes or the DEC target, and leave no "
    "cluster empty.",
    headline="MNIST, all 70,000 images at 28x28: accuracy 0.965, NMI 0.917; USPS 0.964 and 0.927 "
    "(table 2, means of 5 runs, no labels used for tuning). k-means on MNIST's pixels: 0.534 and "
    "0.500 (table 2). Elsewhere, MNIST: autoencoder and k-means 0.760 and 0.667, DEC 0.843 and "
    "0.800.",
    setting=f"The 1,797 digits of 8x8 pixels, all of them clustered; {MAPS[0]} feature maps a "
    f"layer (paper: 50), {STEPS} steps of 100 at a rate of {RATE:g} for every network, of which "
    "30 % pretrain. All arms have the same architecture and the same start. Accuracies are in "
    "[0, 1], and a cluster's size is its share of the rows. MNIST is left out: a network of this "
    "kind takes minutes there.",
    arms={
        "depict": "DEPICT",
        "dec-target": "the same with the targets of DEC, p^2 / size",
        "no-prior": "the same, the targets without the clusters' sizes",
        "no-reconstruction": "the same, nothing rebuilt after the pretraining",
        "ae-kmeans": "the autoencoder alone for all steps, then k-means of its codes",
        "untrained": "control: k-means of the codes before the first step",
        "pixels": "k-means of the pixels",
    },
    recipes=("depict",),
    checks=(
        Check(
            "accuracy, minus that of the autoencoder and k-means",
            lambda f: f["depict"]["accuracy"] - f["ae-kmeans"]["accuracy"],
            at_least=0.05,
            control=lambda f: f["untrained"]["accuracy"] - f["ae-kmeans"]["accuracy"],
        ),
        Check(
            "accuracy, minus that with the DEC target",
            lambda f: f["depict"]["accuracy"] - f["dec-target"]["accuracy"],
            at_least=0.0,
            control=lambda f: f["untrained"]["accuracy"] - f["dec-target"]["accuracy"],
        ),
        Check(
            "accuracy, minus that without reconstruction",
            lambda f: f["depict"]["accuracy"] - f["no-reconstruction"]["accuracy"],
            at_least=0.03,
        ),
        Check(
            "share of the rows in the smallest cluster",
            lambda f: f["depict"]["smallest"],
            at_least=0.02,
        ),
        Check(
            "share of the rows in the smallest cluster without the prior",
            lambda f: f["no-prior"]["smallest"],
            at_most=0.02,
            control=lambda f: f["depict"]["smallest"],
        ),
    ),
)
def depict(trial: Trial) -> dict[str, dict[str, float | Result]]:
    """Five networks from one start, and k-means where the network has no clusters of its own."""
    digits = data.load("digits")
    assert digits.test is not None
    assert digits.train_labels is not None
    assert digits.test_labels is not None
    rows = np.concatenate((digits.train, digits.test))
    labels = np.concatenate((digits.train_labels, digits.test_labels))
    shared: dict[str, Any] = {
        "clusters": CLUSTERS, "maps": MAPS, "batch_size": 100, "seed": trial.seed,
        "progress": False,
    }  # fmt: skip
    models = isthmus.fit_many(
        {arm: {"recipe": "depict", **options} for arm, options in VARIANTS.items()},
        rows, steps=trial.steps(STEPS), lr=RATE, **shared,
    )  # fmt: skip
    untrained = isthmus.fit("depict", rows, steps=1, lr=1e-12, **ONLY_REBUILD, **shared)
    assigned = {arm: clusters(model, rows) for arm, model in models.items()}
    for arm, codes in {
        "ae-kmeans": models["ae-kmeans"].encode(rows),
        "untrained": untrained.encode(rows),
        "pixels": rows.reshape(len(rows), -1),
    }.items():
        found = KMeans(CLUSTERS, n_init=STARTS, random_state=trial.seed)
        assigned[arm] = found.fit_predict(np.asarray(codes, dtype=np.float64))
    return {arm: agreement(cluster, labels) for arm, cluster in assigned.items()}


def agreement(assigned: np.ndarray, labels: np.ndarray) -> dict[str, float | Result]:
    """Agreement of clusters with classes, both ``(rows,)``, and the share of each extreme cluster.

    An empty cluster counts as one of share 0.
    """
    share = np.bincount(assigned, minlength=CLUSTERS) / len(assigned)
    return {
        "accuracy": clustering_accuracy(assigned, labels, draws=0),
        "nmi": nmi(assigned, labels, draws=0),
        "ari": ari(assigned, labels, draws=0),
        "smallest": float(share.min()),
        "largest": float(share.max()),
    }
