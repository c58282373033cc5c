"""Transformers: ViT (Dosovitskiy et al., ICLR 2021), BERT (Devlin et al., 2019) and GPT-2 (Radford et al., 2019).

Shapes: B sequences of T tokens, each D wide, in H heads. There is no dropout.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn

from workloads.models.initial import initialise_transformer


class VisionTransformer(nn.Module):
    """ViT, and DeiT without distillation: patches and a class token, pre-norm blocks, one linear head."""

    def __init__(
        self, *, width: int, heads: int, depth: int, patch: int, classes: int, input_size: int
    ) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(3, width, patch, stride=patch)
        self.pos_embed = ClassTokenAndPosition((input_size // patch) ** 2, width)
        self.blocks = nn.Sequential(*(PreNormBlock(width, heads, causal=False) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)
        initialise_transformer(self, depth)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, classes)."""
        x = self.patch_embed(x).flatten(2).transpose(1, 2)  # (B, T, D)
        x = self.norm(self.blocks(self.pos_embed(x)))  # (B, 1 + T, D)
        logits: Tensor = self.head(x[:, 0])
        return logits


class Gpt(nn.Module):
    """GPT-2 with its head, whose weight is the token embedding; predicts the next token at every position."""

    def __init__(self, *, width: int, heads: int, depth: int, vocab: int, positions: int = 1024) -> None:
        super().__init__()
        self.wte = nn.Embedding(vocab, width)
        self.wpe = nn.Embedding(positions, width)
        self.h = nn.Sequential(*(PreNormBlock(width, heads, causal=True) for _ in range(depth)))
        self.ln_f = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, vocab, bias=False)
        self.lm_head.weight = self.wte.weight
        initialise_transformer(self, depth)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) token numbers -> (B, T, vocab)."""
        positions = torch.arange(ids.shape[1], device=ids.device)  # (T,)
        x = self.wte(ids) + self.wpe(positions)  # (B, T, D)
        logits: Tensor = self.lm_head(self.ln_f(self.h(x)))
        return logits


class Bert(nn.Module):
    """BERT encoder with embeddings and pooler; the published encoder has no task head."""

    def __init__(self, *, width: int, heads: int, depth: int, vocab: int, positions: int = 512) -> None:
        super().__init__()
        self.embeddings = BertEmbeddings(vocab, positions, width)
        self.encoder = nn.Sequential(*(PostNormBlock(width, heads) for _ in range(depth)))
        self.pooler = nn.Linear(width, width)
        initialise_transformer(self, depth)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) token numbers of one segment -> (B, D), pooled from the first token."""
        x = self.encoder(self.embeddings(ids))  # (B, T, D)
        return torch.tanh(self.pooler(x[:, 0]))


class PreNormBlock(nn.Module):
    """Attention and MLP, each behind a LayerNorm and beside a residual path."""

    def __init__(self, width: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = FusedAttention(width, heads, causal=causal)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Feedforward(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        x = x + self.attn(self.norm1(x))
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class PostNormBlock(nn.Module):
    """Attention and MLP, each with a residual path and a LayerNorm after their sum."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = BertAttention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.mlp = Feedforward(width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        x = self.norm1(x + self.attn(x))
        y: Tensor = self.norm2(x + self.mlp(x))
        return y


class FusedAttention(nn.Module):
    """Self-attention whose queries, keys and values come from one projection."""

    def __init__(self, width: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        self.heads = heads
        self.causal = causal
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        y: Tensor = self.proj(attend(q, k, v, self.heads, causal=self.causal))
        return y


class BertAttention(nn.Module):
    """Self-attention with a projection each for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        y: Tensor = self.proj(attend(self.query(x), self.key(x), self.value(x), self.heads))
        return y


class Feedforward(nn.Sequential):
    """The MLP of a block, four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.add_module("fc1", nn.Linear(width, 4 * width))
        self.add_module("gelu", nn.GELU())
        self.add_module("fc2", nn.Linear(4 * width, width))


class ClassTokenAndPosition(nn.Module):
    """Puts a trained token before the patches, then adds a trained vector to every token."""

    def __init__(self, patches: int, width: int) -> None:
        super().__init__()
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, 1 + patches, width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, 1 + T, D)."""
        class_tokens = self.class_token.expand(x.shape[0], -1, -1)
        return torch.cat((class_tokens, x), dim=1) + self.positions


class BertEmbeddings(nn.Module):
    """Sum of word, position and segment vector, normalised; all tokens are of the first segment."""

    def __init__(self, vocab: int, positions: int, width: int) -> None:
        super().__init__()
        self.word = nn.Embedding(vocab, width)
        self.position = nn.Embedding(positions, width)
        self.segment = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, D)."""
        positions = torch.arange(ids.shape[1], device=ids.device)  # (T,)
        x = self.word(ids) + self.position(positions) + self.segment(torch.zeros_like(ids))
        y: Tensor = self.norm(x)
        return y


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, *, causal: bool = False) -> Tensor:
    """Scaled dot-product attention, (B, T, D) each -> (B, T, D); `causal` hides the later tokens.

    Its two products are plain matrix products, so that a tracer sees them.
    """
    q, k, v = (x.reshape(*x.shape[:2], heads, -1).transpose(1, 2) for x in (q, k, v))  # (B, H, T, D/H)
    scores = q @ k.transpose(-2, -1) / sqrt(q.shape[-1])  # (B, H, T, T)
    if causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, -torch.inf)
    context = scores.softmax(dim=-1) @ v  # (B, H, T, D/H)
    return context.transpose(1, 2).flatten(2)
