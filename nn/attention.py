"""Attention layers."""

from __future__ import annotations

from typing import Any

from tapegrad import Tensor, empty

from . import init
from .attending import multi_head_attention_forward
from .linear import Linear
from .module import Module
from .parameter import Parameter

__all__ = ["MultiheadAttention"]


class NonDynamicallyQuantizableLinear(Linear):
    """A :class:`Linear`, by the name that PyTorch gives it inside attention."""


class MultiheadAttention(Module):
    """Attention of ``num_heads`` heads: each looks with projections of its own, E/heads wide.

    headᵢ = softmax(Qᵢ·Kᵢᵀ/√(E/heads) + mask)·Vᵢ with Qᵢ, Kᵢ, Vᵢ linear in query, key and value;
    the output is linear in all heads side by side. ``embed_dim`` (E): the features of query and
    output. ``kdim``, ``vdim``: those of key and value, E where not given. ``dropout``: the
    probability with which weights are dropped in training. ``bias``: of the projections.
    ``add_bias_kv``: a learned key and value are put at the end. ``add_zero_attn``: a key and
    value of zeros are.

    Inputs (L, N, E), (S, N, kdim) and (S, N, vdim), with ``batch_first`` (N, L, E) and so on, or
    without a batch (L, E). Parameters: ``in_proj_weight`` (3E, E), or ``q_proj_weight``,
    ``k_proj_weight``, ``v_proj_weight`` where ``kdim`` or ``vdim`` differ, ``in_proj_bias``,
    ``bias_k``, ``bias_v`` and ``out_proj``.

    Raises ValueError for an ``embed_dim`` that is no multiple of ``num_heads``.

    >>> import tapegrad as tg
    >>> attention = tg.nn.MultiheadAttention(8, 2, batch_first=True)
    >>> x = tg.ones(1, 2, 8)
    >>> output, weights = attention(x, x, x)
    >>> output.shape
    (1, 2, 8)
    >>> weights.detach()
    tensor([[[0.5000, 0.5000],
             [0.5000, 0.5000]]])

    Source: Vaswani et al. (2017), Attention Is All You Need.
    """

    bias_k: Tensor | None
    bias_v: Tensor | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                "embed_dim and num_heads must be greater than 0, got "
                f"embed_dim={embed_dim} and num_heads={num_heads}"
            )
        if embed_dim % num_heads:
            raise ValueError(
                f"embed_dim ({embed_dim}) must be a multiple of num_heads ({num_heads}): every "
                "head gets embed_dim / num_heads features"
            )
        super().__init__()
        self.embed_dim, self.num_heads = embed_dim, num_heads
        self.head_dim = embed_dim // num_heads
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == self.vdim == embed_dim
        self.dropout, self.batch_first, self.add_zero_attn = dropout, batch_first, add_zero_attn
        features = {
            "q_proj_weight": embed_dim,
            "k_proj_weight": self.kdim,
            "v_proj_weight": self.vdim,
        }
        if self._qkv_same_embed_dim:
            self.in_proj_weight = Parameter(
                empty(3 * embed_dim, embed_dim, device=device, dtype=dtype)
            )
            for name in features:
                self.register_parameter(name, None)
        else:
            for name, n in features.items():
                made = Parameter(empty(embed_dim, n, device=device, dtype=dtype))
                self.register_parameter(name, made)
            self.register_parameter("in_proj_weight", None)
        if bias:
            self.in_proj_bias = Parameter(empty(3 * embed_dim, device=device, dtype=dtype))
        else:
            self.register_parameter("in_proj_bias", None)
        self.out_proj = NonDynamicallyQuantizableLinear(
            embed_dim, embed_dim, bias, device=device, dtype=dtype
        )
        for name in ("bias_k", "bias_v"):
            made = empty(1, 1, embed_dim, device=device, dtype=dtype) if add_bias_kv else None
            self.register_parameter(name, None if made is None else Parameter(made))
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        """Draw the initial values anew; the weights of ``out_proj`` stay."""
        for weight in (
            self.in_proj_weight,
            self.q_proj_weight,
            self.k_proj_weight,
            self.v_proj_weight,
        ):
            if weight is not None:
                init.xavier_uniform_(weight)
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)
        for more in (self.bias_k, self.bias_v):
            if more is not None:
                init.xavier_normal_(more)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """The output and the weights (None if not ``need_weights``).

        ``key_padding_mask`` (N, S), or (S,) without a batch: True for keys that are not looked
        at. ``attn_mask`` (L, S), or (N·heads, L, S): True where a query may not look. Both may be
        floats, which are added before the softmax. A query that may look nowhere gets the weights
        0 (PyTorch's are NaN if they are asked for).
        ``average_attn_weights``: weights (N, L, S), the mean of the heads; else (N, heads, L, S).
        They are those after dropout. ``is_causal`` says that ``attn_mask``, which is needed, is
        causal; the mask decides.
        """
        return multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            self.training,
            key_padding_mask,
            need_weights,
            attn_mask,
            not self._qkv_same_embed_dim,
            self.q_proj_weight,
            self.k_proj_weight,
            self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
            batch_first=self.batch_first,
        )
