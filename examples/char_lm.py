"""Learn to write like a manual: a small Transformer that predicts the next character.

The text is the part of Python's reference that ``help()`` shows, which comes with Python (the
module ``pydoc_data.topics``; so the numbers differ a little between its versions). One topic in
ten is held out, without the paragraphs that also stand elsewhere. The model sees up to 64
characters and says how probable each next one is; its perplexity on the held-out topics, the number
of characters that it wavers between, is compared with that of counting: characters, pairs and
triples of them. Then it writes some text of its own.

Run it with ``python examples/char_lm.py``; it takes about a minute on one core. Measured with
Python 3.11: 3.85, beside 6.67 by triples.

Source: Vaswani et al. (2017), Attention Is All You Need.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from pydoc_data.topics import topics

import tapegrad as tg
from tapegrad import nn, optim

CONTEXT, FEATURES, HEADS, LAYERS, BATCH = 64, 64, 4, 2, 16
STEPS, WARMUP, PEAK, CLIP, DECAY = 2500, 100, 3e-3, 1.0, 0.01
HELD_OUT, SHOWN = 20_000, 400  # characters that are scored, and that are written


def load_text() -> tuple[str, str]:
    """The text to learn from and the one that is held out; no paragraph stands there twice."""
    seen: set[str] = set()
    parts: tuple[list[str], list[str]] = [], []
    # Those to learn from come first, so that what they share with the others is theirs.
    for is_held in (False, True):
        for i, name in enumerate(sorted(topics)):
            if (i % 10 == 5) == is_held:
                paragraphs = [p for p in topics[name].split("\n\n") if p not in seen]
                parts[is_held].extend(dict.fromkeys(paragraphs))
                seen.update(paragraphs)
    learn, held = ("\n\n".join(p).encode("ascii", "replace").decode() for p in parts)
    return learn, held[:HELD_OUT]


class CharacterModel(nn.Module):
    """Scores of the next character at every place of a text, by the characters up to there."""

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, FEATURES)
        self.positions = nn.SinusoidalPositionalEncoding(FEATURES, batch_first=True)
        layer = nn.TransformerEncoderLayer(
            FEATURES, HEADS, 4 * FEATURES, dropout=0.0, batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(FEATURES))
        for parameter in self.blocks.parameters():  # the layers are copies: draw each anew
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)
        self.head = nn.Linear(FEATURES, characters)

    def forward(self, text: tg.Tensor) -> tg.Tensor:
        """(N, L) indices of characters to (N, L, characters) scores."""
        mask = nn.Transformer.generate_square_subsequent_mask(text.shape[1])
        x = self.positions(self.embedding(text))
        return self.head(self.blocks(x, mask=mask, is_causal=True))


def loss_of(model: nn.Module, windows: tg.Tensor, skip: int = 0) -> tg.Tensor:
    """The mean -log probability of the characters of windows but the first ``1 + skip``."""
    scores = model(windows[:, :-1])[:, skip:]
    return nn.functional.cross_entropy(scores.flatten(0, 1), windows[:, 1 + skip :].flatten())


def train(model: nn.Module, text: tg.Tensor, steps: int) -> None:
    """Learn from windows at random places, and print the loss now and then."""
    warmup = min(WARMUP, steps)
    rate = optim.schedules.warmup(
        optim.schedules.cosine_decay(PEAK, max(steps - warmup, 1)), warmup
    )
    optimizer = optim.AdamW(model.parameters(), lr=rate, weight_decay=DECAY)
    within, recent = tg.arange(CONTEXT + 1), []
    for step in range(1, steps + 1):
        starts = tg.randint(0, len(text) - CONTEXT, (BATCH, 1))
        loss = loss_of(model, text[starts + within])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        recent.append(loss.item())
        if step % max(1, steps // 10) == 0:
            print(f"  {step:6} steps   perplexity {math.exp(sum(recent) / len(recent)):6.2f}")
            recent = []


def perplexity(model: nn.Module, text: tg.Tensor) -> float:
    """On a whole text; every character is predicted from at least half a context."""
    half = CONTEXT // 2
    starts = tg.arange(0, len(text) - CONTEXT, half)
    total, count = 0.0, 0
    with tg.no_grad():
        for some in starts.split(4 * BATCH):
            windows = text[some[:, None] + tg.arange(CONTEXT + 1)]
            total += loss_of(model, windows, skip=half).item() * len(some)
            count += len(some)
    return math.exp(total / count)


def perplexity_of_counts(order: int, learn: str, held: str) -> float:
    """Of the shares of characters after the ``order`` - 1 before, mixed with those after fewer."""
    size = len(set(learn + held))
    counts = [Counter(zip(*(learn[i:] for i in range(n)), strict=False)) for n in range(order + 1)]
    counts[0][()] = len(learn)

    def probability(place: int) -> float:
        found = 1.0 / size
        for n in range(1, order + 1):
            gram = tuple(held[place - n + 1 : place + 1])
            # As if a few more characters had come after this one, by the shares after fewer.
            found = (counts[n][gram] + 2.0 * found) / (counts[n - 1][gram[:-1]] + 2.0)
        return found

    places = range(CONTEXT // 2 + 1, len(held))  # those that the model is asked about
    return math.exp(-sum(math.log(probability(place)) for place in places) / len(places))


def write(model: nn.Module, start: tg.Tensor, length: int) -> tg.Tensor:
    """Go on from a text: each character is drawn by its probability, sharpened a little."""
    text = start
    with tg.no_grad():
        for _ in range(length):
            scores = model(text[None, -CONTEXT:])[0, -1]
            text = tg.cat([text, tg.multinomial(tg.softmax(scores / 0.8, dim=-1), 1)])
    return text


def main() -> None:
    """Learn, measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of training")
    options = parser.parse_args()
    tg.manual_seed(0)
    learn, held = load_text()
    characters = sorted(set(learn + held))
    index = {character: i for i, character in enumerate(characters)}
    learn_x, held_x = (tg.tensor([index[c] for c in text]) for text in (learn, held))
    model = CharacterModel(len(characters))
    parameters = sum(p.numel() for p in model.parameters())
    print(
        f"{len(learn)} characters to learn from, {len(held)} held out, {len(characters)} different "
        f"ones; a model of {parameters} parameters"
    )
    print("\nLearning; perplexity on what is learned from")
    train(model, learn_x, options.steps)

    print("\nPerplexity on the topics that were held out")
    for order, name in enumerate(("characters alone", "after one other", "after two others"), 1):
        print(f"  {f'counted, {name}':28} {perplexity_of_counts(order, learn, held):6.2f}")
    print(f"  {'Transformer':28} {perplexity(model, held_x):6.2f}")

    written = write(model, tg.tensor([index[c] for c in "\n\nThe "]), SHOWN)
    print("\nWhat it writes:\n")
    print("".join(characters[i] for i in written.tolist()).strip())


if __name__ == "__main__":
    main()
