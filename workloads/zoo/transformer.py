"""Transformers: ViT (Dosovitskiy et al., ICLR 2021), BERT (Devlin et al., 2019) and GPT-2 (Radford et al., 2019)."""

from __future__ import annotations

from codesign.errors import SpecError
from workloads.graph import Graph, Node


def vit(
    batch: int,
    *,
    width: int,
    heads: int,
    depth: int = 12,
    patch: int = 16,
    classes: int = 1000,
    input_size: int = 224,
) -> Graph:
    """Vision transformer with a class token: pre-norm blocks, fused query-key-value projection, one linear head.

    Widths 192, 384 and 768 with 3, 6 and 12 heads are ViT (and DeiT without distillation) Tiny, Small and Base.
    """
    if input_size % patch:
        raise SpecError(f"input size {input_size} must be a multiple of the patch size {patch}")
    g = Graph(batch)
    x = g.conv(g.input(3, input_size, input_size), width, patch, "patch_embed", stride=patch, bias=True)
    x = g.view(x, (batch, (input_size // patch) ** 2, width))
    x = g.position(x, "pos_embed", class_tokens=1)
    for index in range(depth):
        x = _pre_norm_block(g, x, heads, f"blocks.{index}")
    x = g.layernorm(x, "norm")
    g.loss(g.linear(g.view(x, (batch, width)), classes, "head"))
    return g


def bert(
    batch: int, *, width: int = 768, heads: int = 12, depth: int = 12, seq_len: int = 128, vocab: int = 30_522
) -> Graph:
    """BERT encoder with embeddings and pooler (512 positions; 2 segments).

    The published encoder has no task head; the loss stands on the pooled output.
    """
    _check_tokens(seq_len, 512)
    g = Graph(batch)
    x = g.embedding(g.input(seq_len, name="token_ids"), (vocab, 512, 2), width, "embeddings")
    x = g.layernorm(x, "embeddings.norm")
    for index in range(depth):
        x = _post_norm_block(g, x, heads, f"encoder.{index}")
    first_token = g.view(x, (batch, width))
    g.loss(g.vector("tanh", g.linear(first_token, width, "pooler"), "pooler.tanh"))
    return g


def gpt2(
    batch: int,
    *,
    width: int = 768,
    heads: int = 12,
    depth: int = 12,
    seq_len: int = 1024,
    vocab: int = 50_257,
) -> Graph:
    """GPT-2 (1,024 positions) with its head, whose weight is the token embedding."""
    _check_tokens(seq_len, 1024)
    g = Graph(batch)
    tokens = g.embedding(g.input(seq_len, name="token_ids"), (vocab,), width, "wte")
    x = g.position(tokens, "wpe", rows=1024)
    for index in range(depth):
        x = _pre_norm_block(g, x, heads, f"h.{index}")
    x = g.layernorm(x, "ln_f")
    g.loss(g.linear(x, vocab, "lm_head", bias=False, tied=tokens))
    return g


def _pre_norm_block(g: Graph, x: Node, heads: int, name: str) -> Node:
    width = x.shape[-1]
    qkv = g.linear(g.layernorm(x, f"{name}.norm1"), 3 * width, f"{name}.attn.qkv")
    q, k, v = (g.view(qkv, x.shape) for _ in range(3))
    context = g.attention(q, k, v, heads, f"{name}.attn")
    x = g.add(g.linear(context, width, f"{name}.attn.proj"), x, f"{name}.add1")
    return g.add(_mlp(g, g.layernorm(x, f"{name}.norm2"), name), x, f"{name}.add2")


def _post_norm_block(g: Graph, x: Node, heads: int, name: str) -> Node:
    width = x.shape[-1]
    q, k, v = (g.linear(x, width, f"{name}.attn.{part}") for part in ("query", "key", "value"))
    context = g.attention(q, k, v, heads, f"{name}.attn")
    x = g.layernorm(g.add(g.linear(context, width, f"{name}.attn.proj"), x, f"{name}.add1"), f"{name}.norm1")
    return g.layernorm(g.add(_mlp(g, x, name), x, f"{name}.add2"), f"{name}.norm2")


def _mlp(g: Graph, x: Node, name: str) -> Node:
    width = x.shape[-1]
    hidden = g.vector("gelu", g.linear(x, 4 * width, f"{name}.mlp.fc1"), f"{name}.mlp.gelu")
    return g.linear(hidden, width, f"{name}.mlp.fc2")


def _check_tokens(seq_len: int, limit: int) -> None:
    if seq_len > limit:
        raise SpecError(
            f"sequence length {seq_len}: this network has {limit} trained positions; use at most {limit}"
        )
