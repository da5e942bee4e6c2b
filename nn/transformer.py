"""Transformers: layers of attention, and stacks of them."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from math import inf
from typing import Any, ClassVar

from tapegrad import Tensor, full
from tapegrad.errors import ShapeError

from . import init
from .attention import MultiheadAttention
from .containers import ModuleList
from .dropout import Dropout
from .functional import gelu, relu
from .linear import Linear
from .module import Module
from .normalization import LayerNorm

__all__ = [
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
]

_ACTIVATIONS = {"relu": relu, "gelu": gelu}


class _Layer(Module):
    """What the layers of encoder and decoder have in common."""

    attentions: ClassVar[tuple[str, ...]]  # what there is besides the linear layers

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = relu,
        layer_norm_eps: Any = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if isinstance(activation, str) and activation not in _ACTIVATIONS:
            raise RuntimeError(
                f"activation must be 'relu', 'gelu' or a function of a tensor, not {activation!r}"
            )
        super().__init__()
        for name in self.attentions:
            attention = MultiheadAttention(
                d_model, nhead, dropout, bias, batch_first=batch_first, device=device, dtype=dtype
            )
            self.add_module(name, attention)
        self.linear1 = Linear(d_model, dim_feedforward, bias, device=device, dtype=dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, device=device, dtype=dtype)
        self.norm_first = norm_first
        parts = range(1, len(self.attentions) + 2)
        for i in parts:
            norm = LayerNorm(d_model, eps=layer_norm_eps, bias=bias, device=device, dtype=dtype)
            self.add_module(f"norm{i}", norm)
        for i in parts:
            self.add_module(f"dropout{i}", Dropout(dropout))
        self.activation: Any = activation
        if isinstance(activation, str):
            self.activation = _ACTIVATIONS[activation]

    def _around(self, x: Tensor, i: int, block: Callable[[Tensor], Tensor]) -> Tensor:
        """The block with its dropout and residual, and the norm before it or behind the sum."""
        norm, dropout = getattr(self, f"norm{i}"), getattr(self, f"dropout{i}")
        if self.norm_first:
            return x + dropout(block(norm(x)))  # type: ignore[no-any-return]
        return norm(x + dropout(block(x)))  # type: ignore[no-any-return]

    def _feed_forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))  # type: ignore[no-any-return]


class TransformerEncoderLayer(_Layer):
    """Self-attention, then two linear layers, each with dropout, a residual and a norm.

    x ← norm₁(x + attention(x)), x ← norm₂(x + W₂·activation(W₁·x)); with ``norm_first`` the norms
    stand before: x ← x + attention(norm₁(x)), and so on.

    ``d_model``: the features of input and output. ``nhead``: heads. ``dim_feedforward``: the
    features between the linear layers. ``dropout``: the probability, also of the weights of
    attention. ``activation``: "relu", "gelu" or a function of a tensor. ``bias``: of the linear
    layers and the norms.

    Input (L, N, E), with ``batch_first`` (N, L, E), or (L, E); so is the output. For the masks see
    :class:`MultiheadAttention`. Raises ValueError for a ``d_model`` that is no multiple of
    ``nhead``, RuntimeError for an activation of another name.

    >>> import tapegrad as tg
    >>> layer = tg.nn.TransformerEncoderLayer(d_model=8, nhead=2, batch_first=True)
    >>> layer(tg.rand(3, 5, 8)).shape
    (3, 5, 8)

    Source: Vaswani et al. (2017), Attention Is All You Need; norms first: Xiong et al. (2020), On
    Layer Normalization in the Transformer Architecture.
    """

    attentions = ("self_attn",)

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """The output; the masks are ``attn_mask`` and ``key_padding_mask`` of attention."""

        def attend(x: Tensor) -> Tensor:
            found, _ = self.self_attn(
                x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal
            )
            return found  # type: ignore[no-any-return]

        return self._around(self._around(src, 1, attend), 2, self._feed_forward)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to what an encoder gave, then two linear layers.

    Each with dropout, a residual and a norm, as in :class:`TransformerEncoderLayer`, whose
    arguments it has.

    >>> import tapegrad as tg
    >>> layer = tg.nn.TransformerDecoderLayer(d_model=8, nhead=2, batch_first=True)
    >>> layer(tg.rand(3, 5, 8), tg.rand(3, 7, 8)).shape
    (3, 5, 8)

    Source: Vaswani et al. (2017), Attention Is All You Need.
    """

    attentions = ("self_attn", "multihead_attn")

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The output, of the shape of ``tgt``; ``memory`` is what the encoder gave."""

        def attend(x: Tensor) -> Tensor:
            found, _ = self.self_attn(
                x, x, x, tgt_key_padding_mask, False, tgt_mask, is_causal=tgt_is_causal
            )
            return found  # type: ignore[no-any-return]

        def look(x: Tensor) -> Tensor:
            found, _ = self.multihead_attn(
                x,
                memory,
                memory,
                memory_key_padding_mask,
                False,
                memory_mask,
                is_causal=memory_is_causal,
            )
            return found  # type: ignore[no-any-return]

        x = self._around(self._around(tgt, 1, attend), 2, look)
        return self._around(x, 3, self._feed_forward)


class TransformerEncoder(Module):
    """``num_layers`` copies of a layer, one after the other, and a ``norm`` behind them if given.

    The copies start with the same values, as in PyTorch: draw them anew if that is not wanted.
    ``enable_nested_tensor`` and ``mask_check`` are accepted and do nothing: there are no nested
    tensors, so that outputs of padded places are computed like any other.

    >>> import tapegrad as tg
    >>> layer = tg.nn.TransformerEncoderLayer(d_model=8, nhead=2)
    >>> encoder = tg.nn.TransformerEncoder(layer, num_layers=2)
    >>> mask = tg.nn.Transformer.generate_square_subsequent_mask(5)
    >>> encoder(tg.rand(5, 3, 8), mask=mask, is_causal=True).shape
    (5, 3, 8)

    Source: Vaswani et al. (2017), Attention Is All You Need.
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        self.layers = ModuleList(deepcopy(encoder_layer) for _ in range(num_layers))
        self.num_layers, self.norm = num_layers, norm
        self.enable_nested_tensor, self.mask_check = enable_nested_tensor, mask_check

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """The output of the last layer; every layer gets the masks."""
        for layer in self.layers:
            src = layer(
                src,
                src_mask=mask,
                src_key_padding_mask=src_key_padding_mask,
                is_causal=is_causal or False,
            )
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(Module):
    """``num_layers`` copies of a layer, one after the other, and a ``norm`` behind them if given.

    The copies start with the same values, as in PyTorch: draw them anew if that is not wanted.

    >>> import tapegrad as tg
    >>> layer = tg.nn.TransformerDecoderLayer(d_model=8, nhead=2)
    >>> decoder = tg.nn.TransformerDecoder(layer, num_layers=2)
    >>> decoder(tg.rand(5, 3, 8), tg.rand(7, 3, 8)).shape
    (5, 3, 8)

    Source: Vaswani et al. (2017), Attention Is All You Need.
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = ModuleList(deepcopy(decoder_layer) for _ in range(num_layers))
        self.num_layers, self.norm = num_layers, norm

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The output of the last layer; every layer gets the memory and the masks."""
        for layer in self.layers:
            tgt = layer(
                tgt,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=tgt_is_causal or False,
                memory_is_causal=memory_is_causal,
            )
        return tgt if self.norm is None else self.norm(tgt)


class Transformer(Module):
    """An encoder and a decoder that looks at what it gave, both with a norm at the end.

    The arguments are those of :class:`TransformerEncoderLayer` and the numbers of layers;
    ``custom_encoder``, ``custom_decoder``: modules to take instead. All weights start by Xavier's
    rule.

    >>> import tapegrad as tg
    >>> model = tg.nn.Transformer(8, 2, 1, 1, dim_feedforward=16)
    >>> model(tg.rand(7, 3, 8), tg.rand(5, 3, 8)).shape
    (5, 3, 8)

    Source: Vaswani et al. (2017), Attention Is All You Need.
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = relu,
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: Any = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        settings: Any = (
            d_model,
            nhead,
            dim_feedforward,
            dropout,
            activation,
            layer_norm_eps,
            batch_first,
            norm_first,
            bias,
            device,
            dtype,
        )

        def norm() -> LayerNorm:
            return LayerNorm(d_model, eps=layer_norm_eps, bias=bias, device=device, dtype=dtype)

        self.encoder = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(*settings), num_encoder_layers, norm()
        )
        self.decoder = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(*settings), num_decoder_layers, norm()
        )
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        """Draw all weights anew."""
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The decoder's output, of the shape of ``tgt``."""
        at = 0 if self.batch_first else 1
        if src.shape[-1:] != (self.d_model,) or tgt.shape[-1:] != (self.d_model,):
            raise ShapeError(
                f"src and tgt must end in d_model = {self.d_model} features, but they have shapes "
                f"{src.shape} and {tgt.shape}"
            )
        if src.ndim == tgt.ndim == 3 and src.shape[at] != tgt.shape[at]:
            raise ShapeError(
                f"src and tgt must have the same batch (dimension {at}), but they have shapes "
                f"{src.shape} and {tgt.shape}"
            )
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        return self.decoder(  # type: ignore[no-any-return]
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """The causal mask (sz, sz) that is added: -inf above the diagonal, 0 elsewhere.

        >>> import tapegrad as tg
        >>> tg.nn.Transformer.generate_square_subsequent_mask(2)
        tensor([[0., -inf],
                [0., 0.]])
        """
        return full((sz, sz), -inf, device=device, dtype=dtype).triu(1)
