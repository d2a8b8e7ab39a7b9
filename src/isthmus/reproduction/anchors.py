"""``docs/anchors.md``: published numbers beside the same quantity as measured here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from isthmus.studies.variational import iwae

HEAD = """# Published numbers

The same quantity as published and as measured here, with the gap. Budgets differ, by orders of
magnitude where it says so: the gap is what a laptop's minutes leave open, not what a method
is worth. Means over seeds, and their range; [claims](claims.md) has every other figure.
"""


@dataclass(frozen=True)
class Anchor:
    """A published number and where its counterpart lies in the results of a study.

    ``published`` is None for what stands beside the others without such a number.
    """

    what: str
    published: float | None
    arm: str
    measure: str


@dataclass(frozen=True)
class Anchors:
    """The published numbers of one experiment.

    ``source`` says where they stand, ``why`` what differs between that experiment and this one.
    """

    title: str
    study: str
    unit: str
    source: str
    why: str
    numbers: tuple[Anchor, ...]


def _nested(arm: str, name: str, values: tuple[float, float, float]) -> tuple[Anchor, ...]:
    scales = ("0.01", "0.1", "1")
    return tuple(
        Anchor(f"{name}, scale {scale}", value, arm, f"kl_{scale}")
        for scale, value in zip(scales, values, strict=True)
    )


ALL = (
    Anchors(
        "Likelihood of MNIST",
        "iwae",
        "negative log-likelihood in nats, lower is better",
        "Burda, Grosse, Salakhutdinov 2015, table 1: one stochastic layer, dynamic binarisation, "
        "5000 importance samples",
        "3280 passes there, half a pass here, and 1000 importance samples of 200 test images; "
        "[benchmarks](benchmarks.md) has the trend over longer training",
        (
            Anchor("VAE, K = 1", iwae.PUBLISHED["vae"], "vae", "nll"),
            Anchor("VAE, K = 50", iwae.PUBLISHED["vae-50"], "vae-50", "nll"),
            Anchor("IWAE, K = 5", iwae.PUBLISHED["iwae-5"], "iwae-5", "nll"),
            Anchor("IWAE, K = 50", iwae.PUBLISHED["iwae-50"], "iwae-50", "nll"),
        ),
    ),
    Anchors(
        "A linear classifier on sparse features of MNIST",
        "k-sparse",
        "test error in per cent, lower is better",
        "Makhzani, Frey 2013, table 2: 1000 units, logistic regression with 60,000 labels",
        "14x14 pixels, 500 units, 6 passes over 20,000 images and 2,500 labels here",
        (
            Anchor("k-sparse, k = 25", 1.35, "k=25", "error"),
            Anchor("k-sparse, k = 40", 1.54, "k=40", "error"),
            Anchor("denoising", 1.60, "denoising", "error"),
            Anchor("dropout", 1.95, "dropout", "error"),
        ),
    ),
    Anchors(
        "Clusters of handwritten digits",
        "depict",
        "accuracy by optimal assignment, higher is better",
        "Dizaji et al. 2017, table 2, MNIST's 70,000 images at 28x28; DEC and the autoencoder's "
        "k-means as quoted by later repositories",
        "The 1,797 digits of 8x8 pixels and 20 feature maps here: easier for k-means, and so with "
        "less to gain",
        (
            Anchor("DEPICT", 0.965, "depict", "accuracy"),
            Anchor("DEC", 0.843, "dec-target", "accuracy"),
            Anchor("autoencoder and k-means", 0.760, "ae-kmeans", "accuracy"),
            Anchor("k-means on pixels", 0.534, "pixels", "accuracy"),
        ),
    ),
    Anchors(
        "Nested spheres in two dimensions",
        "topological",
        "KL divergence of densities, lower is better",
        "Moor et al. 2020, table 1, test part",
        "Up to 100 epochs with hyperparameters searched for each method there, 25 at the published "
        "weight here",
        (
            *_nested("topological", "topological autoencoder", (0.085, 0.326, 0.00694)),
            *_nested("plain", "autoencoder", (0.566, 0.746, 0.01664)),
            *_nested("pca", "PCA", (0.332, 0.651, 0.01530)),
            *_nested("t-sne", "t-SNE", (0.152, 0.527, 0.01271)),
        ),
    ),
    Anchors(
        "Anomalies in tables",
        "pae",
        "mean AUROC, higher is better",
        "PyOD's notebook over 17 ODDS sets",
        "Not the same sets: 18 of ADBench here, fitted to all rows and scored on the same; PCA "
        "with 4 components, isolation forest with scikit-learn's defaults",
        (
            Anchor("isolation forest", 0.818, "iforest", "auroc"),
            Anchor("PCA", 0.781, "pca", "auroc"),
            Anchor("local outlier factor", 0.691, "lof", "auroc"),
            Anchor("plain autoencoder", None, "plain", "auroc"),
            Anchor("VAE", None, "vae", "auroc"),
            Anchor("probabilistic autoencoder", None, "pae", "auroc"),
            Anchor("probabilistic autoencoder, mean-shifted", None, "pae-mss", "auroc"),
            Anchor("mean shift without an autoencoder", None, "mod", "auroc"),
            Anchor("untrained autoencoder", None, "untrained", "auroc"),
        ),
    ),
    Anchors(
        "Thirty numbers for an image",
        "plain",
        "squared error of a test image of MNIST, lower is better",
        "Hinton, Salakhutdinov 2006, figure 2B: pretrained layer by layer, 200 epochs of tuning",
        "Adam from a random start, rectifiers, 1200 steps of 128 on 20,000 images here",
        (
            Anchor("autoencoder", 3.00, "autoencoder", "squared_error"),
            Anchor("PCA", 13.87, "pca", "squared_error"),
        ),
    ),
)


def anchors_page(results: Iterable[Mapping[str, Any]]) -> str:
    """The whole page, of those experiments whose results are kept."""
    found = {one["name"]: one for one in results}
    return "\n".join(
        [
            HEAD,
            *(_section(anchors, found[anchors.study]) for anchors in ALL if anchors.study in found),
        ]
    )


def _section(anchors: Anchors, one: Mapping[str, Any]) -> str:
    seeds = len(one["trials"])
    lines = [
        f"## {anchors.title}",
        "",
        f"{anchors.unit[0].upper()}{anchors.unit[1:]}. Published: {anchors.source}. Here: "
        f"`isthmus reproduce {anchors.study}` ([its section](claims.md#{anchors.study})), "
        f"{seeds} seeds. {anchors.why}.",
        "",
        "| | published | here | gap |",
        "| --- | --- | --- | --- |",
        *(_line(number, one["trials"]) for number in anchors.numbers),
        "",
    ]
    return "\n".join(lines)


def _line(number: Anchor, trials: Iterable[Mapping[str, Any]]) -> str:
    values = [float(trial["figures"][number.arm][number.measure]) for trial in trials]
    mean = sum(values) / len(values)
    spread = f" ({min(values):.4g} to {max(values):.4g})" if min(values) < max(values) else ""
    published = gap = ""
    if number.published is not None:
        published, gap = f"{number.published:g}", f"{mean - number.published:+.3g}"
    return f"| {number.what} | {published} | {mean:.4g}{spread} | {gap} |"
