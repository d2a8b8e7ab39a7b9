"""Looking into a model through a dictionary: features, labels, circuits and steering.

Everything is loaded on first use, so that importing this costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isthmus.interpretation import (
        attribution,
        attribution_graph,
        blended_models,
        circuits,
        encoding,
        features,
        fidelity,
        geometry,
        heads,
        host_training,
        labels,
        places,
        regions,
        selection,
        splice,
        steering,
        straight_through,
    )
    from isthmus.interpretation.attribution import Trace, edges
    from isthmus.interpretation.attribution_graph import AttributionGraph, direct_effects
    from isthmus.interpretation.blended_models import BlendedModels, blend_loss, train_blend
    from isthmus.interpretation.circuits import (
        Ablated,
        Heads,
        ablate_heads,
        answer_odds,
        attribute_heads,
        code_scores,
        discrete_codes,
        edge_scores,
        head_dictionary,
        head_outputs,
        heads_of,
    )
    from isthmus.interpretation.encoding import coded, decoded
    from isthmus.interpretation.features import (
        Example,
        Features,
        Settings,
        read_features,
        source_features,
        text_features,
    )
    from isthmus.interpretation.fidelity import Batch, Losses, behaviour, losses, losses_on
    from isthmus.interpretation.geometry import (
        ErrorParts,
        Family,
        Irreducibility,
        direction_clusters,
        error_decomposition,
        feature_families,
        gradient_pursuit,
        irreducibility,
        mixture,
        rebuilt_by,
        separability,
        split_error,
    )
    from isthmus.interpretation.heads import direct_attribution, head_shares
    from isthmus.interpretation.host_training import end_to_end
    from isthmus.interpretation.labels import (
        Label,
        Labelling,
        Rules,
        label,
        mean_score,
        read_labels,
        score_difference,
        write_labels,
    )
    from isthmus.interpretation.places import Places
    from isthmus.interpretation.regions import Concepts, iou, region_concepts, region_scores
    from isthmus.interpretation.selection import firing_shares, ranked_latents, separation
    from isthmus.interpretation.splice import Edit, Splice, spliced
    from isthmus.interpretation.steering import Steering, steered_generate
    from isthmus.interpretation.straight_through import StraightThrough, learn_through

_NAMES = {
    "attribution": ("Trace", "edges"),
    "attribution_graph": ("AttributionGraph", "direct_effects"),
    "blended_models": ("BlendedModels", "blend_loss", "train_blend"),
    "circuits": (
        "Ablated",
        "Heads",
        "ablate_heads",
        "answer_odds",
        "attribute_heads",
        "code_scores",
        "discrete_codes",
        "edge_scores",
        "head_dictionary",
        "head_outputs",
        "heads_of",
    ),
    "encoding": ("coded", "decoded"),
    "features": (
        "Example",
        "Features",
        "Settings",
        "read_features",
        "source_features",
        "text_features",
    ),
    "fidelity": ("Batch", "Losses", "behaviour", "losses", "losses_on"),
    "geometry": (
        "ErrorParts",
        "Family",
        "Irreducibility",
        "direction_clusters",
        "error_decomposition",
        "feature_families",
        "gradient_pursuit",
        "irreducibility",
        "mixture",
        "rebuilt_by",
        "separability",
        "split_error",
    ),
    "heads": ("direct_attribution", "head_shares"),
    "host_training": ("end_to_end",),
    "labels": (
        "Label",
        "Labelling",
        "Rules",
        "label",
        "mean_score",
        "read_labels",
        "score_difference",
        "write_labels",
    ),
    "places": ("Places",),
    "regions": ("Concepts", "iou", "region_concepts", "region_scores"),
    "selection": ("firing_shares", "ranked_latents", "separation"),
    "splice": ("Edit", "Splice", "spliced"),
    "steering": ("Steering", "steered_generate"),
    "straight_through": ("StraightThrough", "learn_through"),
}
"""Public names by the module that has them."""

_FROM = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """A public name or a module of this package, loaded when it is first asked for."""
    if name in _NAMES:
        return import_module(f"{__name__}.{name}")
    if name in _FROM:
        value = getattr(import_module(f"{__name__}.{_FROM[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = [
    "Ablated",
    "AttributionGraph",
    "Batch",
    "BlendedModels",
    "Concepts",
    "Edit",
    "ErrorParts",
    "Example",
    "Family",
    "Features",
    "Heads",
    "Irreducibility",
    "Label",
    "Labelling",
    "Losses",
    "Places",
    "Rules",
    "Settings",
    "Splice",
    "Steering",
    "StraightThrough",
    "Trace",
    "ablate_heads",
    "answer_odds",
    "attribute_heads",
    "attribution",
    "attribution_graph",
    "behaviour",
    "blend_loss",
    "blended_models",
    "circuits",
    "code_scores",
    "coded",
    "decoded",
    "direct_attribution",
    "direct_effects",
    "direction_clusters",
    "discrete_codes",
    "edge_scores",
    "edges",
    "encoding",
    "end_to_end",
    "error_decomposition",
    "feature_families",
    "features",
    "fidelity",
    "firing_shares",
    "geometry",
    "gradient_pursuit",
    "head_dictionary",
    "head_outputs",
    "head_shares",
    "heads",
    "heads_of",
    "host_training",
    "iou",
    "irreducibility",
    "label",
    "labels",
    "learn_through",
    "losses",
    "losses_on",
    "mean_score",
    "mixture",
    "places",
    "ranked_latents",
    "read_features",
    "read_labels",
    "rebuilt_by",
    "region_concepts",
    "region_scores",
    "regions",
    "score_difference",
    "selection",
    "separability",
    "separation",
    "source_features",
    "splice",
    "spliced",
    "split_error",
    "steered_generate",
    "steering",
    "straight_through",
    "text_features",
    "train_blend",
    "write_labels",
]
