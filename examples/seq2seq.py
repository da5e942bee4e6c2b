"""Sequence to sequence: strings of digits are read and written out in reverse.

An encoder reads the string, and its last state is all that the decoder gets; the decoder writes
one digit after the other, and reads what it wrote last. In training it may be given the right
digit in place of its own (teacher forcing), so that all its steps are one call; or it goes on from
its own choice, as it must later. Both are trained alike, and judged on strings never seen: how
many are right in every digit, by themselves, and with the right digits given.

Measured: after 200 of 1000 steps 56 % are right with teacher forcing and 28 % without; in the end
all are, with both. Together they take 18 seconds on one core, with teacher forcing fewer of them.

    python examples/seq2seq.py
    python examples/seq2seq.py --steps 20

Sources: Sutskever, Vinyals and Le (2014), Sequence to sequence learning with neural networks;
Williams and Zipser (1989), A learning algorithm for continually running fully recurrent networks
(teacher forcing).
"""

from __future__ import annotations

import argparse
import time

import tapegrad as tg
from tapegrad import nn, optim

STEPS, BATCH, LENGTH, HIDDEN = 1000, 64, 6, 96
DIGITS, START = 10, 10  # START stands before the first digit
RATE, CLIP = 4e-3, 1.0


class Reverser(nn.Module):
    """Encoder and decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.GRU(DIGITS, HIDDEN)
        self.decoder = nn.GRU(DIGITS + 1, HIDDEN)
        self.read = nn.Linear(HIDDEN, DIGITS)

    def forward(self, x: tg.Tensor, given: tg.Tensor | None = None) -> tg.Tensor:
        """Scores (LENGTH, N, DIGITS) of the digits to write, for strings x (LENGTH, N).

        ``given``: the right digits; without them the decoder reads its own.
        """
        _, state = self.encoder(nn.functional.one_hot(x, DIGITS).float())
        start = tg.full((1, x.shape[1]), START)
        if given is not None:
            before = tg.cat([start, given[:-1]])
            output, _ = self.decoder(nn.functional.one_hot(before, DIGITS + 1).float(), state)
            return self.read(output)
        scores, digit = [], start
        for _ in range(LENGTH):
            output, state = self.decoder(nn.functional.one_hot(digit, DIGITS + 1).float(), state)
            scores.append(self.read(output))
            digit = scores[-1].argmax(-1)
        return tg.cat(scores)


def strings(count: int, is_held_out: bool = False) -> tuple[tg.Tensor, tg.Tensor]:
    """Strings (LENGTH, count), and their reverses.

    Those whose digits sum to a multiple of ten are held out: training never sees one.
    """
    x = tg.randint(0, DIGITS, (LENGTH, count))
    rest = x.sum(0) % 10
    change = -rest if is_held_out else (rest == 0).long()
    x = tg.cat([(x[:1] + change) % 10, x[1:]])
    return x, x.flip(0)


def right(model: Reverser, held: tuple[tg.Tensor, tg.Tensor], is_given: bool) -> float:
    """The share of strings that are right in every digit."""
    x, target = held
    with tg.no_grad():
        chosen = model(x, target if is_given else None).argmax(-1)
    return (chosen == target).all(0).float().mean().item()


def train(is_forced: bool, steps: int, held: tuple[tg.Tensor, tg.Tensor]) -> Reverser:
    """Train one; print how it goes."""
    tg.manual_seed(1)
    model = Reverser()
    optimizer = optim.Adam(model.parameters(), lr=optim.schedules.cosine_decay(RATE, steps))
    print(f"\ntrained {'with' if is_forced else 'without'} teacher forcing")
    print("    step     loss   strings right")
    began = time.perf_counter()
    for step in range(1, steps + 1):
        x, target = strings(BATCH)
        scores = model(x, target if is_forced else None)
        loss = nn.functional.cross_entropy(scores.flatten(0, 1), target.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        if step % max(steps // 5, 1) == 0 or step == steps:
            print(f"{step:8d}   {loss.item():.4f}   {right(model, held, False):6.1%}")
    print(f"  {time.perf_counter() - began:.1f} s")
    return model


def main() -> None:
    """Both, and what they come to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of training")
    steps = parser.parse_args().steps
    tg.manual_seed(0)
    held = strings(1000, is_held_out=True)
    models = {
        "with teacher forcing": train(True, steps, held),
        "without": train(False, steps, held),
    }
    print(f"\n{'trained':22}by itself   with the right digits given")
    for name, model in models.items():
        print(f"{name:22}{right(model, held, False):9.1%}   {right(model, held, True):27.1%}")
    x, target = (part[:, :1] for part in held)
    with tg.no_grad():
        written = models["with teacher forcing"](x).argmax(-1)
    shown = ("".join(map(str, part.flatten().tolist())) for part in (x, written, target))
    print("for example {} is written {} (right: {})".format(*shown))


if __name__ == "__main__":
    main()
