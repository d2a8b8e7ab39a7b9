"""A deep autoencoder against principal components, at equal code size."""

# About 150 CPU seconds a seed: 6,000 steps of 21 ms.
from isthmus.studies import (
    Anchor,
    Anchors,
    Fit,
    Primary,
    Published,
    Secondary,
    Tuning,
    claim,
    control,
    ratio,
)  # fmt: skip
from isthmus.studies.benches.images import images, pca

LATENT = 30
DEEP = Fit("plain", "hidden layers of 1000, 500 and 250, 30 latents", hidden=(1000, 500, 250))

claim(
    "plain",
    family="classic",
    catalogue=None,
    paper="Hinton, Salakhutdinov 2006, Reducing the Dimensionality of Data with Neural Networks",
    statement="A nonlinear autoencoder rebuilds images better than PCA with as many components.",
    headline="MNIST, 30 numbers per image: mean squared error of a test image 3.00, against 13.87 "
    "for PCA (figure 2B; 60,000 images, pretrained layer by layer, fine-tuned for 200 epochs).",
    recipes=("plain",),
    bench=images("mnist"),
    setting="The paper's layers of 1000, 500, 250 and 30, but rectifiers, Adam and no "
    "pretraining: 6,000 steps of 128 (13 passes) at a falling rate. squared_error is the paper's "
    "measure: summed over the pixels of an image.",
    arms={
        "autoencoder": DEEP,
        "pca": pca(LATENT),
        "pca-40": pca(40, "positive control: ten more principal components"),
        "untrained": control.untrained(DEEP, "autoencoder"),
    },
    measures=("squared_error", "fvu"),
    fit={
        "latent_dim": LATENT, "network": "mlp", "steps": 6000, "batch_size": 128,
        "lr_schedule": "cosine",
    },
    tuning=Tuning((3e-4, 1e-3, 3e-3), "squared_error", ("autoencoder",)),
    anchors=(
        Anchors(
            "Thirty numbers for an image",
            "squared error of a test image of MNIST, lower is better",
            "Hinton, Salakhutdinov 2006, figure 2B: pretrained by layers, 200 epochs of tuning",
            "Adam from a random start, rectifiers, 6,000 steps of 128 here",
            (
                Anchor("autoencoder", 3.00, "autoencoder", "squared_error"),
                Anchor("PCA", 13.87, "pca", "squared_error"),
            ),
        ),
    ),
    primary=Primary(
        ratio("squared_error", "autoencoder", to="pca"), below=1.0, positive="pca-40",
        negative="untrained",
        published=Published(3.00 / 13.87, "figure 2B: 3.00 and 13.87"),
    ),
    secondary=(Secondary(ratio("squared_error", "autoencoder", to="pca-40"), below=1.0),),
)  # fmt: skip
