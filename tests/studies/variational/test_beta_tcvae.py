"""What is compared at the same bound."""

import pytest

from isthmus.studies.variational.beta_tcvae import UNIFORM, at_equal_elbo


@pytest.mark.parametrize(
    ("elbo", "mig", "above"),
    [(-10.0, 0.05, 0.05), (-25.0, 0.25, 0.1), (-20.0, 0.1, 0.0), (-90.0, 0.3, 0.1)],
)
def test_mig_is_compared_with_that_of_a_beta_vae_of_the_same_elbo(elbo, mig, above):
    # The beta-VAE's MIG rises from 0 to 0.2 as its ELBO falls from -10 to -30.
    made = {arm: {"elbo": -10.0 * (i + 1), "mig_posterior": 0.1 * i}
            for i, arm in enumerate(UNIFORM)}  # fmt: skip
    made["other"] = {"elbo": elbo, "mig_posterior": mig}
    assert at_equal_elbo(made, "other") == pytest.approx(above)
