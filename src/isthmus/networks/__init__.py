"""Encoders and decoders that build themselves for a signal."""

from isthmus.networks.build import NETWORKS, decoder_for, encoder_for, network_name
from isthmus.networks.conv import ConvDecoder, ConvEncoder
from isthmus.networks.layers import ACTIVATIONS
from isthmus.networks.mlp import MLPDecoder, MLPEncoder
from isthmus.networks.patches import Patches
from isthmus.networks.positions import sincos
from isthmus.networks.projector import Projector
from isthmus.networks.recurrent import Ended, TokenDecoder, TokenEncoder
from isthmus.networks.transformer import (
    PatchDecoder,
    PatchEncoder,
    TransformerDecoder,
    TransformerEncoder,
    VisibleTokens,
)

__all__ = [
    "ACTIVATIONS", "NETWORKS", "ConvDecoder", "ConvEncoder", "Ended", "MLPDecoder", "MLPEncoder",
    "PatchDecoder", "PatchEncoder", "Patches", "Projector", "TokenDecoder", "TokenEncoder",
    "TransformerDecoder", "TransformerEncoder", "VisibleTokens", "decoder_for", "encoder_for",
    "network_name", "sincos",
]  # fmt: skip
