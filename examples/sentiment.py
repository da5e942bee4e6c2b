"""Good or bad? A recurrent network reads what a bag of words cannot: what the "not" belongs to.

Reviews are made by a grammar. In half of them everything is good or everything is bad: "the soup
was not bad and the staff was superb". The other half praises one thing and blames another, and a
conjunction says which of them counts: what comes after "but", or what is not conceded by
"although". The same words in another order say the opposite, so a model that does not see the
order can only guess these. (So it is with a quarter of the others: "the soup was bad and the staff
was not superb" has the words of the one above. Such a model can be expected to be right about
11/16 of the reviews, 69 %, at best.)

Two models are trained alike: the mean of the words' embeddings with a hidden layer (a bag of
words), and a GRU that reads word by word. Reviews have lengths of their own: they are padded to
the longest of a batch, and packed so that the GRU does not read the padding. No review of the test
occurs in training. Of those the bag of words got 66 % right and the GRU all, after 12 seconds on
one core.

    python examples/sentiment.py
    python examples/sentiment.py --epochs 1

Source: Cho et al. (2014), Learning phrase representations using RNN encoder-decoder for statistical
machine translation (the GRU).
"""

from __future__ import annotations

import argparse
import random
import time
from typing import NamedTuple

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.nn.utils.rnn import pack_padded_sequence, pad_sequence

THINGS = ["soup", "bread", "wine", "coffee", "room", "view", "music", "staff", "service", "garden"]
PRAISE = ["good", "great", "lovely", "fresh", "pleasant", "superb"]
BLAME = ["bad", "awful", "dull", "stale", "dreadful", "poor"]
NEGATIONS = ["not", "never", "hardly"]
ADVERBS = ["very", "really", "quite"]
OPENINGS = ["", "", "for once", "last week", "we came for lunch and"]

TRAIN, TEST, EPOCHS, BATCH, RATE = 4000, 1000, 20, 64, 3e-3
FEATURES, HIDDEN = 16, 32


class Review(NamedTuple):
    """A review, whether it is good (1) or bad (0), and whether it praises and blames."""

    words: list[str]
    label: int
    is_mixed: bool


def clause(rng: random.Random, is_good: bool) -> list[str]:
    """What praises or blames one thing, plainly or by denying the opposite."""
    is_negated = rng.random() < 0.5
    negation = [rng.choice(NEGATIONS)] if is_negated else []
    adverb = [rng.choice(ADVERBS)] if rng.random() < 0.5 else []
    judgement = rng.choice(PRAISE if is_good != is_negated else BLAME)
    return ["the", rng.choice(THINGS), "was", *negation, *adverb, judgement]


def write_review(rng: random.Random) -> Review:
    """A review by the grammar."""
    is_good, is_mixed = rng.random() < 0.5, rng.random() < 0.5
    counts, other = clause(rng, is_good), clause(rng, is_good != is_mixed)
    if is_mixed:
        orders = [other, ["but"], counts], [["although"], other, counts]
        parts = rng.choice([*orders, [counts, ["although"], other]])
    else:
        parts = [counts, ["and"], other] if rng.random() < 0.5 else [counts]
    words = [*rng.choice(OPENINGS).split(), *(word for part in parts for word in part)]
    return Review(words, int(is_good), is_mixed)


def write_reviews(count: int) -> list[Review]:
    """Reviews of which no two have the same words in the same order."""
    rng, found = random.Random(0), {}
    while len(found) < count:
        review = write_review(rng)
        found[" ".join(review.words)] = review
    return list(found.values())


class Collate:
    """Makes a batch of reviews: numbers of words (N, longest), padded by 0; lengths; labels."""

    def __init__(self, reviews: list[Review]) -> None:
        words = sorted({word for review in reviews for word in review.words})
        self.numbers = {word: number for number, word in enumerate(words, 1)}

    def __call__(self, reviews: list[Review]) -> tuple[tg.Tensor, tg.Tensor, tg.Tensor]:
        rows = [tg.tensor([self.numbers[word] for word in review.words]) for review in reviews]
        labels = tg.tensor([float(review.label) for review in reviews])
        return pad_sequence(rows, batch_first=True), tg.tensor([len(r) for r in rows]), labels


class BagOfWords(nn.Module):
    """A score for each review, by the mean of its words' embeddings."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words + 1, FEATURES, padding_idx=0)
        self.read = nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))

    def forward(self, words: tg.Tensor, lengths: tg.Tensor) -> tg.Tensor:
        """Logits (N,); the embedding of the padding is 0."""
        mean = self.embedding(words).sum(dim=1) / lengths.unsqueeze(1)
        return self.read(mean).squeeze(1)


class Reader(nn.Module):
    """A score for each review, by the state in which its last word leaves a GRU."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words + 1, FEATURES, padding_idx=0)
        self.gru = nn.GRU(FEATURES, HIDDEN, batch_first=True)
        self.read = nn.Linear(HIDDEN, 1)

    def forward(self, words: tg.Tensor, lengths: tg.Tensor) -> tg.Tensor:
        """Logits (N,)."""
        packed = pack_padded_sequence(
            self.embedding(words), lengths, batch_first=True, enforce_sorted=False
        )
        _, last = self.gru(packed)
        return self.read(last[-1]).squeeze(1)


def train(model: nn.Module, reviews: list[Review], collate: Collate, epochs: int) -> None:
    """Train one; print how it goes."""
    loader = nn.data.DataLoader(reviews, batch_size=BATCH, shuffle=True, collate_fn=collate)
    rate = optim.schedules.cosine_decay(RATE, epochs * len(loader))
    optimizer = optim.Adam(model.parameters(), lr=rate)
    print("   epoch     loss   accuracy (training)")
    began = time.perf_counter()
    for epoch in range(1, epochs + 1):
        total, accuracy = 0.0, nn.metrics.get("binary_accuracy", from_logits=True)
        for words, lengths, labels in loader:
            scores = model(words, lengths)
            loss = nn.functional.binary_cross_entropy_with_logits(scores, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
            accuracy.update(scores, labels)
        if epoch % max(epochs // 5, 1) == 0:
            print(f"{epoch:8d}   {total / len(reviews):.4f}   {accuracy.compute().item():8.1%}")
    print(f"  {time.perf_counter() - began:.1f} s")


def judge(model: nn.Module, reviews: list[Review], collate: Collate) -> str:
    """Accuracy and F1, and the accuracy on either kind of review."""
    words, lengths, labels = collate(reviews)
    with tg.no_grad():
        scores = model(words, lengths)
    mixed = tg.tensor([review.is_mixed for review in reviews])
    metrics = nn.metrics
    found = [
        metrics.binary_accuracy(scores, labels, from_logits=True),
        metrics.f1(scores, labels.long(), from_logits=True),
        metrics.binary_accuracy(scores[~mixed], labels[~mixed], from_logits=True),
        metrics.binary_accuracy(scores[mixed], labels[mixed], from_logits=True),
    ]
    return "{:9.1%} {:9.3f} {:12.1%} {:12.1%}".format(*(value.item() for value in found))


def main() -> None:
    """Train both, judge them, and let them read some."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="passes through the reviews")
    epochs = parser.parse_args().epochs
    reviews = write_reviews(TRAIN + TEST)
    learn, test = reviews[:TRAIN], reviews[TRAIN:]
    collate = Collate(reviews)
    print(f"{TRAIN} reviews to learn from, {TEST} others to judge by, for example")
    for review in test[:4]:
        print(f"  {'good' if review.label else 'bad':5} {' '.join(review.words)}")
    models = {}
    for name, kind in {"bag of words": BagOfWords, "GRU": Reader}.items():
        tg.manual_seed(0)
        models[name] = kind(len(collate.numbers))
        print(f"\n{name}, {sum(p.numel() for p in models[name].parameters())} parameters")
        train(models[name], learn, collate, epochs)

    print("\non the test       accuracy        F1   one opinion   both kinds")
    for name, model in models.items():
        print(f"{name:17} {judge(model, test, collate)}")

    print("\nprobability of being good    " + "".join(f"{name:>14}" for name in models))
    for text in (
        "the soup was good",
        "the soup was not good",
        "the soup was not bad but the staff was awful",
        "although the staff was awful the soup was not bad",
    ):
        words, lengths, _ = collate([Review(text.split(), 0, False)])
        with tg.no_grad():
            found = [tg.sigmoid(model(words, lengths)).item() for model in models.values()]
        print(f"{text:50}" + "".join(f"{value:8.2f}" for value in found))


if __name__ == "__main__":
    main()
