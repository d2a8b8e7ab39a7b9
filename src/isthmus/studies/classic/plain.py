"""A deep autoencoder against principal components, at equal code size."""

from typing import Any

import numpy as np
from sklearn.decomposition import PCA

import isthmus
from isthmus import data
from isthmus.evaluation import Result, error_per_element, fvu
from isthmus.studies import Check, Trial, study

LATENT = 30
HIDDEN = (1000, 500, 250)
ROWS = 20_000
STEPS = 1200
PIXELS = 784


@study(
    "plain",
    family="classic",
    catalogue=None,
    paper="Hinton, Salakhutdinov 2006, Reducing the Dimensionality of Data with Neural Networks",
    statement="A nonlinear autoencoder rebuilds images better than PCA with as many components.",
    headline="MNIST, 30 numbers per image: mean squared error of a test image 3.00, against 13.87 "
    "for PCA (figure 2B; 60,000 images, pretrained layer by layer, fine-tuned for 200 epochs).",
    setting=f"MNIST, the paper's layers of 1000, 500, 250 and {LATENT}, but rectifiers, Adam and "
    f"no pretraining: {STEPS} steps of 128 on {ROWS:,} images at a falling rate, measured on the "
    "10,000 test images. squared_error is the paper's measure: summed over the pixels of an image, "
    "which are in [0, 1].",
    arms={
        "autoencoder": f"hidden layers of 1000, 500 and 250, {LATENT} latents",
        "linear": "control: the same training without hidden layers, hence a linear autoencoder",
        "pca": f"{LATENT} principal components of the same training images",
        "untrained": "control: the deep network before its first step",
    },
    recipes=("plain",),
    needs=("mnist",),
    checks=(
        Check(
            "squared error of a test image, divided by that of PCA",
            lambda f: f["autoencoder"]["squared_error"] / f["pca"]["squared_error"],
            at_most=0.75,
            control=lambda f: f["linear"]["squared_error"] / f["pca"]["squared_error"],
        ),
        Check(
            "the linear autoencoder's error, divided by that of PCA: it was trained long enough",
            lambda f: f["linear"]["squared_error"] / f["pca"]["squared_error"],
            at_most=1.1,
            premise=True,
            control=lambda f: f["untrained"]["squared_error"] / f["pca"]["squared_error"],
        ),
    ),
)
def plain(trial: Trial) -> dict[str, dict[str, float | Result]]:
    """Both networks on the same batches, PCA on the same images."""
    mnist = data.load("mnist")
    assert mnist.test is not None
    drawn = np.random.default_rng(trial.seed).permutation(len(mnist.train))[:ROWS]
    rows, test = mnist.train[drawn], mnist.test
    shared: dict[str, Any] = {
        "latent_dim": LATENT,
        "network": "mlp",
        "lr_schedule": "cosine",
        "seed": trial.seed,
        "progress": False,
    }
    models = isthmus.fit_many(
        {
            "autoencoder": {"recipe": "plain", "hidden": HIDDEN},
            "linear": {"recipe": "plain", "hidden": ()},
        },
        rows, steps=trial.steps(STEPS), batch_size=128, **shared,
    )  # fmt: skip
    models["untrained"] = isthmus.fit("plain", rows, hidden=HIDDEN, steps=1, lr=1e-12, **shared)
    pixels, held = (x.reshape(len(x), -1) / np.float32(255) for x in (rows, test))
    pca = PCA(LATENT, svd_solver="covariance_eigh").fit(pixels)
    rebuilt = {"pca": pca.inverse_transform(pca.transform(held))}
    for name, model in models.items():
        rebuilt[name] = np.asarray(model.reconstruct(test)).reshape(held.shape)
    return {
        name: {
            "squared_error": PIXELS * error_per_element(held, recon).value,
            "fvu": fvu(held, recon),
        }
        for name, recon in rebuilt.items()
    }
