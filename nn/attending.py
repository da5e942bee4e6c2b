"""Attention as functions, by PyTorch's names."""

from __future__ import annotations

from math import inf
from typing import Any

from tapegrad import Tensor, cat, full, pad, repeat_interleave, softmax, where, zeros
from tapegrad.errors import ShapeError

from .dropping import dropout

__all__ = ["multi_head_attention_forward", "scaled_dot_product_attention"]


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: Any = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(Q·Kᵀ·scale + mask)·V: for each query a mean of the values, weighed by their keys.

    ``query``: (..., L, E). ``key``: (..., S, E). ``value``: (..., S, Ev); what stands before the
    last two dimensions (batch, heads) broadcasts. The result has shape (..., L, Ev).
    ``attn_mask``: broadcasts to the weights (..., L, S). Booleans: True where a query may look
    (the modules' masks say the opposite, as in PyTorch). Floats of the dtype of ``query``: added
    before the softmax. A query that may look nowhere gets zeros.
    ``dropout_p``: weights are dropped with this probability; there is no training mode here, so
    give 0 to evaluate. ``is_causal``: query i looks at the keys up to i.
    ``scale``: 1/√E where not given; a float or a tensor.
    ``enable_gqa``: keys and values may have fewer heads (dimension -3) than the queries; each
    serves as many queries in a row as there are to one.

    Raises ShapeError for shapes that do not fit, RuntimeError for dtypes that differ, a mask
    that is neither boolean nor of that dtype, and for ``is_causal`` beside a mask.

    >>> import tapegrad as tg
    >>> q, k = tg.tensor([[10.0, 0.0]]), tg.tensor([[10.0, 0.0], [0.0, 10.0]])
    >>> tg.nn.functional.scaled_dot_product_attention(q, k, tg.tensor([[1.0], [2.0]]))
    tensor([[1.]])

    Source: Vaswani et al. (2017), Attention Is All You Need.
    """
    _check_operands(query, key, value)
    if enable_gqa:
        key, value = (_repeated(x, query, name) for x, name in ((key, "key"), (value, "value")))
    if is_causal:
        if attn_mask is not None:
            raise RuntimeError(
                "scaled_dot_product_attention: give attn_mask or is_causal=True, not both"
            )
        attn_mask = full((query.shape[-2], key.shape[-2]), -inf, dtype=query.dtype).triu(1)
    elif attn_mask is not None:
        attn_mask = _summand(attn_mask, "attn_mask", query, is_true=0.0, is_false=-inf)
    return _weights(query, key, attn_mask, scale, dropout_p) @ value


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
    *,
    batch_first: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attention of several heads, as :class:`tapegrad.nn.MultiheadAttention` computes it.

    The arguments are those of the module and its parameters. ``in_proj_weight`` (3E, E) holds
    the weights of queries, keys and values one above the other; with
    ``use_separate_proj_weight`` the three stand by themselves. ``static_k``, ``static_v``
    (N·heads, S, E/heads): keys and values as they are, in place of the projected ones.
    ``batch_first`` (not in PyTorch): inputs and output (N, L, E), not (L, N, E).

    Returns the output and the weights, or None in their place.

    >>> import tapegrad as tg
    >>> x, w = tg.tensor([[1.0, 0.0], [0.0, 1.0]]), tg.eye(2)
    >>> every = tg.cat([w, w, w])
    >>> call = tg.nn.functional.multi_head_attention_forward
    >>> y, weights = call(x, x, x, 2, 1, every, None, None, None, False, 0.0, w, None)
    >>> weights
    tensor([[0.6698, 0.3302],
            [0.3302, 0.6698]])

    Source: Vaswani et al. (2017), Attention Is All You Need.
    """
    from .functional import linear  # which loads this file

    _check_sequences(query, key, value, embed_dim_to_check, num_heads)
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "is_causal=True says of attn_mask that it is causal, so one is needed: "
            "nn.Transformer.generate_square_subsequent_mask(L) makes it"
        )
    is_batched, at = query.ndim == 3, 0 if batch_first else 1
    if is_batched and query.shape[at] != key.shape[at]:
        raise ShapeError(
            f"query and key must have the same batch (dimension {at}), but they have shapes "
            f"{query.shape} and {key.shape}"
        )
    packed = query is key and key is value and not use_separate_proj_weight and static_k is static_v
    if not is_batched:
        query, key, value = (x.unsqueeze(at) for x in (query, key, value))
        if key_padding_mask is not None and key_padding_mask.ndim == 1:
            key_padding_mask = key_padding_mask.unsqueeze(0)
    batch, dim = query.shape[at], embed_dim_to_check
    head_dim = dim // num_heads

    if packed:
        assert in_proj_weight is not None
        projected = linear(query, in_proj_weight, in_proj_bias)
        parts = projected.reshape(*query.shape[:2], 3, num_heads, head_dim)
        # to (3, N, heads, L, E/heads)
        q, k, v = parts.permute(2, at, 3, 1 - at, 4).unbind(0)
    else:
        if use_separate_proj_weight:
            weights: Any = (q_proj_weight, k_proj_weight, v_proj_weight)
        else:
            assert in_proj_weight is not None
            weights = in_proj_weight.split(dim)
        biases = (None,) * 3 if in_proj_bias is None else in_proj_bias.split(dim)
        q, k, v = (
            fixed.reshape(batch, num_heads, *fixed.shape[1:])
            if fixed is not None
            else linear(x, w, b)
            .reshape(*x.shape[:2], num_heads, head_dim)
            .permute(at, 2, 1 - at, 3)
            for x, w, b, fixed in zip(
                (query, key, value), weights, biases, (None, static_k, static_v), strict=True
            )
        )

    mask = _merged(attn_mask, key_padding_mask, q, k)
    more_k, more_v = [], []
    if bias_k is not None and bias_v is not None:
        shape = (batch, num_heads, 1, head_dim)
        more_k, more_v = (
            [x.reshape(1, num_heads, 1, head_dim).expand(shape)] for x in (bias_k, bias_v)
        )
    if add_zero_attn:
        nothing = zeros(batch, num_heads, 1, head_dim, dtype=k.dtype)
        more_k, more_v = [*more_k, nothing], [*more_v, nothing]
    if more_k:
        k, v = cat([k, *more_k], dim=2), cat([v, *more_v], dim=2)
        if mask is not None:
            mask = pad(mask, (0, len(more_k)))

    shares = _weights(q, k, mask, None, dropout_p if training else 0.0)
    output = (shares @ v).permute(*((0, 2, 1, 3) if batch_first else (2, 0, 1, 3)))
    output = linear(output.reshape(*query.shape[:2], dim), out_proj_weight, out_proj_bias)
    if not is_batched:
        output = output.squeeze(at)
    if not need_weights:
        return output, None
    if average_attn_weights:
        shares = shares.mean(1)
    return output, shares if is_batched else shares.squeeze(0)


def _weights(query: Tensor, key: Tensor, mask: Tensor | None, scale: Any, dropout_p: Any) -> Tensor:
    """The weights (..., L, S), for a mask that is added."""
    if scale is None:
        scale = max(query.shape[-1], 1) ** -0.5
    scores = (query * scale) @ key.mT
    if mask is not None:
        shape, room = mask.shape, scores.shape
        fits = len(shape) <= len(room)
        if not fits or any(m not in (1, n) for m, n in zip(shape[::-1], room[::-1], strict=False)):
            raise ShapeError(f"attn_mask of shape {shape} must broadcast to the weights {room}")
        scores = scores + mask
    weights = softmax(scores, dim=-1)  # zeros where all is -inf
    return dropout(weights, dropout_p) if dropout_p else weights


def _summand(mask: Tensor, name: str, query: Tensor, is_true: float, is_false: float) -> Tensor:
    """A mask as what is added to the scores."""
    _check_tensor(mask, name)
    if mask.dtype == bool:
        # of the dtype of the scores, which it must not widen
        return where(mask, full((), is_true, dtype=query.dtype), is_false)
    if mask.dtype != query.dtype:
        raise RuntimeError(
            f"{name} must be boolean or of the dtype of the query ({query.dtype}), "
            f"not {mask.dtype}: mask.to({str(query.dtype)!r}) makes it so"
        )
    return mask


def _merged(
    attn_mask: Tensor | None, key_padding_mask: Tensor | None, q: Tensor, k: Tensor
) -> Tensor | None:
    """The two masks of a module, where True hides, as one that is added to (N, heads, L, S)."""
    (batch, heads, length, _), source = q.shape, k.shape[2]
    if attn_mask is not None:
        attn_mask = _summand(attn_mask, "attn_mask", q, is_true=-inf, is_false=0.0)
        if attn_mask.shape == (batch * heads, length, source):
            attn_mask = attn_mask.reshape(batch, heads, length, source)
        elif attn_mask.shape != (length, source):
            raise ShapeError(
                f"attn_mask must have shape {(length, source)} (queries, keys), or "
                f"{(batch * heads, length, source)} (batch · heads before them), "
                f"not {attn_mask.shape}"
            )
    if key_padding_mask is not None:
        name = "key_padding_mask"
        key_padding_mask = _summand(key_padding_mask, name, q, is_true=-inf, is_false=0.0)
        if key_padding_mask.shape != (batch, source):
            raise ShapeError(
                f"key_padding_mask must have shape {(batch, source)} (batch, keys), or ({source},) "
                f"without a batch, not {key_padding_mask.shape}"
            )
        key_padding_mask = key_padding_mask.reshape(batch, 1, 1, source)
        return key_padding_mask if attn_mask is None else attn_mask + key_padding_mask
    return attn_mask


def _repeated(x: Tensor, query: Tensor, name: str) -> Tensor:
    """The heads of keys or values as often as there are queries to each."""
    if query.ndim < 3 or x.ndim < 3 or not x.shape[-3] or query.shape[-3] % x.shape[-3]:
        raise ShapeError(
            f"enable_gqa: the number of heads (dimension -3) of the {name} must divide that of "
            f"the query, but they have shapes {x.shape} and {query.shape}"
        )
    return repeat_interleave(x, query.shape[-3] // x.shape[-3], -3)  # type: ignore[no-any-return]


def _check_tensor(x: Any, name: str) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(
            f"{name} must be a tensor, not {type(x).__name__}: tg.tensor(...) makes one"
        )


def _check_operands(query: Tensor, key: Tensor, value: Tensor) -> None:
    """Refuse operands that do not fit each other."""
    operands = (query, key, value)
    for x, name in zip(operands, ("query", "key", "value"), strict=True):
        _check_tensor(x, name)
    shapes = [x.shape for x in operands]
    if min(map(len, shapes)) < 2:
        raise ShapeError(
            "query, key and value must have at least 2 dimensions (length, features), but they "
            f"have shapes {shapes[0]}, {shapes[1]} and {shapes[2]}"
        )
    if not query.dtype == key.dtype == value.dtype or not query.is_floating_point():
        raise RuntimeError(
            "query, key and value must have the same floating dtype, but they are "
            f"{query.dtype}, {key.dtype} and {value.dtype}"
        )
    if shapes[0][-1] != shapes[1][-1] or shapes[1][-2] != shapes[2][-2]:
        raise ShapeError(
            "query (..., L, E), key (..., S, E) and value (..., S, Ev) do not fit: they have "
            f"shapes {shapes[0]}, {shapes[1]} and {shapes[2]}"
        )


def _check_sequences(query: Tensor, key: Tensor, value: Tensor, dim: int, num_heads: int) -> None:
    """Refuse inputs of a module that do not fit each other."""
    for x, name in ((query, "query"), (key, "key"), (value, "value")):
        _check_tensor(x, name)
    if query.ndim not in (2, 3) or not query.ndim == key.ndim == value.ndim:
        raise ShapeError(
            "query, key and value must have 3 dimensions, or 2 without a batch, but they have "
            f"shapes {query.shape}, {key.shape} and {value.shape}"
        )
    if query.shape[-1] != dim:
        raise ShapeError(f"query of shape {query.shape} must end in embed_dim = {dim} features")
    if dim % num_heads:
        raise ValueError(f"embed_dim ({dim}) must be a multiple of num_heads ({num_heads})")
    if key.shape[:-1] != value.shape[:-1]:
        raise ShapeError(
            f"key and value must have the same length and batch, but they have shapes {key.shape} "
            f"and {value.shape}"
        )
