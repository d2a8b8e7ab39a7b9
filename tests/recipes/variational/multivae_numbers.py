"""Losses of multivae 1.0.3 (PyPI) on made data with given weights and noise: the peer's numbers.

In an environment of its own: ``pip install multivae==1.0.3``, then
``python multivae_numbers.py > multivae.json``. The tests read that file, and the data and weights
of :func:`made` below.
"""

import json
import sys

import numpy as np

SIZES = {"a": 3, "b": 2, "c": 4}
LATENT, ROWS = 2, 6
EPSILON = 0.5
"""What stands for every normal draw."""
DRAWS = (-0.7, 0.3, 1.1)
"""What stands for the draws of a mixture's expert."""
RESCALED = {"a": 1.0, "b": 2.5, "c": 0.5}


def made():
    """Data, masks, encoder matrices and decoder matrices, float32."""
    rng = np.random.default_rng(7)
    data = {n: rng.normal(size=(ROWS, d)).astype(np.float32) for n, d in SIZES.items()}
    masks = {
        "a": np.array([1, 1, 0, 1, 0, 1], bool),
        "b": np.array([1, 0, 1, 1, 0, 1], bool),
        "c": np.array([1, 0, 1, 0, 1, 1], bool),
    }
    encoders = {
        n: (0.5 * rng.normal(size=(2 * LATENT, d))).astype(np.float32) for n, d in SIZES.items()
    }
    decoders = {n: rng.normal(size=(d, LATENT)).astype(np.float32) for n, d in SIZES.items()}
    return data, masks, encoders, decoders


def main():
    import multivae.models.mopoe.mopoe_model as mopoe_model
    import multivae.models.mvae.mvae_model as mvae_model
    import torch
    from multivae.data.datasets.base import IncompleteDataset, MultimodalBaseDataset
    from multivae.models import (
        MMVAE,
        MVAE,
        MMVAEConfig,
        MoPoE,
        MoPoEConfig,
        MVAEConfig,
    )  # fmt: skip
    from multivae.models.nn.base_architectures import BaseDecoder, BaseEncoder
    from pythae.models.base.base_utils import ModelOutput

    data, masks, encoder_weights, decoder_weights = made()

    class Encoder(BaseEncoder):
        def __init__(self, weight):
            super().__init__()
            self.latent_dim = LATENT
            self.weight = torch.nn.Parameter(torch.tensor(weight))

        def forward(self, x):
            mean, logvar = (x @ self.weight.T).chunk(2, 1)
            return ModelOutput(embedding=mean, log_covariance=logvar.clone())

    class Decoder(BaseDecoder):
        def __init__(self, weight):
            super().__init__()
            self.latent_dim = LATENT
            self.weight = torch.nn.Parameter(torch.tensor(weight))

        def forward(self, z):
            return ModelOutput(reconstruction=z @ self.weight.T)

    def drawn(mean, logvar, **_):
        return mean + EPSILON * torch.exp(0.5 * logvar)

    mvae_model.rsample_from_gaussian = drawn
    mopoe_model.rsample_from_gaussian = drawn

    def laplace(self, shape):
        draws = torch.tensor(DRAWS)[: shape[0], None, None]
        return self.loc + self.scale * draws

    torch.distributions.Laplace.rsample = laplace
    torch.distributions.Normal.rsample = laplace

    def parts():
        return {
            "encoders": {n: Encoder(w) for n, w in encoder_weights.items()},
            "decoders": {n: Decoder(w) for n, w in decoder_weights.items()},
        }

    common = {
        "n_modalities": 3,
        "latent_dim": LATENT,
        "input_dims": {n: (d,) for n, d in SIZES.items()},
    }
    rescaled = {"uses_likelihood_rescaling": True, "rescale_factors": RESCALED}
    tensors = {n: torch.tensor(x) for n, x in data.items()}
    seen = {n: torch.tensor(m) for n, m in masks.items()}
    whole = MultimodalBaseDataset(data=tensors)
    gone = IncompleteDataset(
        data={n: torch.where(seen[n][:, None], x, 0.0) for n, x in tensors.items()}, masks=seen
    )
    numbers = {}

    def entry(name, model, loss):
        own = {k: p for k, p in model.named_parameters() if p.requires_grad}
        gradients = torch.autograd.grad(loss, list(own.values()), allow_unused=True)
        named = {k: g.tolist() for k, g in zip(own, gradients, strict=True) if g is not None}
        numbers[name] = {"loss": loss.item(), "gradients": named}

    for weighed, extra in (("", {}), (" rescaled", rescaled)):
        for kind, inputs in (("whole", whole), ("missing", gone)):
            model = MVAE(MVAEConfig(**common, **extra, k=3, warmup=0), **parts())
            found = model(inputs, epoch=1)
            loss = 0.0
            for subset in ("abc", "a", "b", "c", "ab", "ac", "bc"):
                # The peer's mean is over the rows that have any of the subset.
                share = np.mean(np.any([masks[n] for n in subset], 0)) if kind == "missing" else 1.0
                loss = loss + share * found.metrics["_".join(subset)]
            entry(f"mvae {kind}{weighed}", model, loss)

            for name, draws in (("iwae_looser", 3), ("dreg_looser", 3), ("iwae_looser", 1)):
                for family in ("laplace_with_softmax", "normal"):
                    config = MMVAEConfig(
                        **common, **extra, K=draws, loss=name, prior_and_posterior_dist=family,
                    )  # fmt: skip
                    model = MMVAE(config, **parts())
                    title = f"mmvae {kind}{weighed} {name.split('_')[0]} {draws} {family[:6]}"
                    entry(title, model, model(inputs).loss / ROWS)

            model = MoPoE(MoPoEConfig(**common, **extra, beta=2.5), **parts())

            def last(mus, logvars, availabilities):
                numbers = torch.arange(len(mus))[:, None]
                chosen = torch.where(availabilities > 0, numbers, -1).max(0).values
                rows = torch.arange(mus.shape[1])
                return mus[chosen, rows], logvars[chosen, rows]

            def final(mus, logvars, weights):
                return mus[-1], logvars[-1]

            model.random_mixture_component_selection = last
            model.deterministic_mixture_component_selection = final
            entry(f"mopoe {kind}{weighed}", model, model(inputs).loss)
    json.dump(
        json.loads(json.dumps(numbers), parse_float=lambda t: float(f"{float(t):.7g}")), sys.stdout
    )


if __name__ == "__main__":
    main()
