"""How the study of DEPICT scores a partition, and which arms are ablations."""

import numpy as np
import pytest

from isthmus.studies import get_claim
from isthmus.studies.clustering.depict import CLUSTERS, ONLY_REBUILD, VARIANTS, agreement


def test_renamed_classes_agree_in_full():
    labels = np.repeat(np.arange(CLUSTERS), 5)
    found = agreement((labels + 3) % CLUSTERS, labels)
    for name in ("accuracy", "nmi", "ari"):
        assert found[name].value == pytest.approx(1.0)
    assert found["smallest"] == found["largest"] == pytest.approx(1 / CLUSTERS)


def test_an_empty_cluster_counts_as_the_smallest():
    labels = np.repeat(np.arange(CLUSTERS), 5)
    # The last two classes merge: their second is not found, and no row has the last cluster.
    found = agreement(np.minimum(labels, CLUSTERS - 2), labels)
    assert found["accuracy"].value == pytest.approx(0.9)
    assert found["smallest"] == 0.0
    assert found["largest"] == pytest.approx(0.2)


def test_every_variant_is_an_arm_and_the_autoencoder_meets_no_clusters():
    assert set(VARIANTS) < set(get_claim("depict").arms)
    assert VARIANTS["depict"] == {}
    assert 1.0 > ONLY_REBUILD["pretraining"] + ONLY_REBUILD["start"] > 0.95
