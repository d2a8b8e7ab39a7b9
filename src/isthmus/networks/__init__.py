"""Encoders and decoders that build themselves for a signal."""

from isthmus.networks.archetypal_dictionary import ArchetypalDictionary
from isthmus.networks.causal_autoencoder import CausalAutoencoder
from isthmus.networks.conv import ConvDecoder, ConvEncoder
from isthmus.networks.dictionary import Dictionary, DictionaryEncoder
from isthmus.networks.factory import NETWORKS, decoder_for, encoder_for, network_name, numbers_last
from isthmus.networks.grid import GridDecoder, GridEncoder, ResidualStack, grid_shape
from isthmus.networks.layers import ACTIVATIONS
from isthmus.networks.linear_projection import LinearProjection
from isthmus.networks.mlp import MLPDecoder, MLPEncoder
from isthmus.networks.patches import Patches
from isthmus.networks.positions import sincos
from isthmus.networks.projector import Projector
from isthmus.networks.quantised_dictionary import quantised
from isthmus.networks.recurrent import Ended, TokenDecoder, TokenEncoder
from isthmus.networks.spline_blend import SplineBlend, spline_basis
from isthmus.networks.tied_encoder import TiedEncoder
from isthmus.networks.transformer import (
    PatchDecoder,
    PatchEncoder,
    TransformerDecoder,
    TransformerEncoder,
    VisibleTokens,
)

__all__ = [
    "ACTIVATIONS", "NETWORKS", "ArchetypalDictionary", "CausalAutoencoder", "ConvDecoder",
    "ConvEncoder", "Dictionary", "DictionaryEncoder", "Ended", "GridDecoder", "GridEncoder",
    "LinearProjection", "MLPDecoder", "MLPEncoder", "PatchDecoder", "PatchEncoder", "Patches",
    "Projector", "ResidualStack", "SplineBlend", "TiedEncoder", "TokenDecoder", "TokenEncoder",
    "TransformerDecoder", "TransformerEncoder", "VisibleTokens", "decoder_for", "encoder_for",
    "grid_shape", "network_name", "numbers_last", "quantised", "sincos", "spline_basis",
]  # fmt: skip
