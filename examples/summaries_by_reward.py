"""Summaries learned from a score alone: choosing sentences by REINFORCE.

A report of a match has eight sentences; a summary may have two. Nobody says which ones: a choice
only gets a score, its overlap with a summary written by hand (the F-measure of ROUGE-1, a count of
common words). Choosing and counting have no derivative. But the choice is drawn by a network's
probabilities, and these have one: choices that score above a baseline are made likelier, those
below less likely. On average that is the gradient of the expected score.

Any baseline does on average, but a good one makes the gradient less noisy: compared are none, the
mean score of the other reports of the batch, and what the network's own most probable choice scores
for the same report (self-critical training). Beside the three stand choices by rule: at random, the
first sentences, those with the report's most frequent words, and, knowing the summary written by
hand, the best sentences one after the other and the best pair that there is.

Measured: 0.39 by chance, 0.73 for the best pair, and 0.72 learned with any of the baselines; but
after 100 steps 0.68 without one and 0.72 with the others. It takes 15 seconds on one core.

    python examples/summaries_by_reward.py
    python examples/summaries_by_reward.py --steps 20

Sources: Williams (1992), Simple statistical gradient-following algorithms for connectionist
reinforcement learning; Rennie et al. (2017), Self-critical sequence training for image captioning;
Lin (2004), ROUGE: a package for automatic evaluation of summaries.
"""

from __future__ import annotations

import argparse
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import tapegrad as tg
from tapegrad import losses, nn, optim

TEAMS = [
    "rovers",
    "united",
    "wanderers",
    "athletic",
    "rangers",
    "city",
    "albion",
    "orient",
    "county",
    "villa",
]
PLACES = ["leeds", "york", "bath", "derby", "ely", "truro", "wells", "ripon"]
PEOPLE = ["adams", "brown", "clark", "davis", "evans", "frost", "grant", "hughes", "irwin", "jones"]
# The result and who decided it belong into a summary; each may be told twice.
RESULTS = (
    "{winner} beat {loser} in {place}",
    "in {place} {loser} lost to {winner}",
    "the match in {place} was won by {winner}",
)
GOALS = (
    "a late goal by {scorer} decided the match",
    "{scorer} scored the late goal that made the difference",
    "it took a late goal and {scorer} scored it",
)
OTHERS = (
    "{winner} and {loser} had met in {place} before",
    "fans of {winner} and of {loser} had come to {place} by train",
    "rain had fallen in {place} since the morning",
    "{coach} the coach of {winner} praised {loser}",
    "{coach} was proud of {winner} and said so",
    "{loser} and {winner} had sold all tickets for the match in {place}",
    "the referee showed {coach} a yellow card",
    "{loser} had not lost a match for a month",
    "the match began late because of the train",
)
SUMMARY = "{winner} beat {loser} in {place} by a late goal that {scorer} scored"

SENTENCES, CHOSEN, LEARNED, TEST = 8, 2, 4000, 500
FEATURES, HIDDEN, BATCH, STEPS, RATE = 32, 64, 64, 600, 5e-3


class Report(NamedTuple):
    """Sentences, each a list of words, and a summary."""

    sentences: list[list[str]]
    summary: list[str]


Data = tuple[list[Report], tg.Tensor]


def write_report(rng: random.Random) -> Report:
    """A report with its sentences in any order."""
    winner, loser = rng.sample(TEAMS, 2)
    scorer, coach = rng.sample(PEOPLE, 2)
    facts = {"winner": winner, "loser": loser, "place": rng.choice(PLACES)}
    facts.update(scorer=scorer, coach=coach)
    told = rng.sample(RESULTS, rng.choice((1, 2))) + rng.sample(GOALS, rng.choice((1, 2)))
    told += rng.sample(OTHERS, SENTENCES - len(told))
    rng.shuffle(told)
    return Report([s.format(**facts).split() for s in told], SUMMARY.format(**facts).split())


def score(report: Report, chosen: Any) -> float:
    """How far the chosen sentences overlap with the summary, from 0 to 1."""
    words = [word for i in chosen for word in report.sentences[i]]
    return losses.rouge_n(words, report.summary, n=1).fmeasure


def scores_of(reports: list[Report], chosen: tg.Tensor) -> tg.Tensor:
    """The scores (N,) of the sentences (N, CHOSEN)."""
    return tg.tensor([score(*pair) for pair in zip(reports, chosen.tolist(), strict=True)])


def numbered(reports: list[Report], numbers: dict[str, int]) -> tg.Tensor:
    """The words' numbers, (N, SENTENCES, longest), padded by 0."""
    rows = [tg.tensor([numbers[w] for w in s]) for r in reports for s in r.sentences]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True).reshape(len(reports), SENTENCES, -1)


class Policy(nn.Module):
    """Chooses sentences one after the other, by the report and what is chosen already."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words + 1, FEATURES, padding_idx=0)
        self.of_sentence = nn.Linear(FEATURES, HIDDEN)
        self.of_chosen = nn.Linear(FEATURES, HIDDEN)
        self.read = nn.Linear(HIDDEN, 1)

    def forward(self, words: tg.Tensor, is_greedy: bool = False) -> tuple[tg.Tensor, tg.Tensor]:
        """Choices and their log-probabilities, (N, CHOSEN): drawn, or greedily the likeliest."""
        sentences = self.embedding(words).sum(dim=2) / (words != 0).sum(dim=2, keepdim=True)
        chosen = tg.zeros(len(words), FEATURES)
        taken = tg.zeros(len(words), SENTENCES, dtype="bool")
        choices, log_probs = [], []
        for _ in range(CHOSEN):
            hidden = self.of_sentence(sentences) + self.of_chosen(chosen).unsqueeze(1)
            scores = self.read(tg.tanh(hidden)).squeeze(2)
            log_p = tg.log_softmax(tg.where(taken, -tg.inf, scores), dim=1)
            choice = log_p.argmax(1, keepdim=True) if is_greedy else tg.multinomial(log_p.exp(), 1)
            choices.append(choice)
            log_probs.append(log_p.gather(1, choice))
            is_choice = tg.arange(SENTENCES) == choice
            taken = taken | is_choice
            chosen = chosen + tg.where(is_choice.unsqueeze(2), sentences, 0.0).sum(dim=1)
        return tg.cat(choices, dim=1), tg.cat(log_probs, dim=1)


def no_baseline(log_probs: tg.Tensor, rewards: tg.Tensor, greedy: Any) -> tg.Tensor:
    """REINFORCE as it stands."""
    return losses.reinforce_loss(log_probs, rewards)


def others_mean(log_probs: tg.Tensor, rewards: tg.Tensor, greedy: Any) -> tg.Tensor:
    """REINFORCE with the mean of the other rewards as baseline."""
    return losses.reinforce_loss(log_probs, rewards, baseline="leave_one_out")


def self_critical(log_probs: tg.Tensor, rewards: tg.Tensor, greedy: Any) -> tg.Tensor:
    """REINFORCE with the reward of the greedy choice as baseline."""
    return losses.self_critical_loss(log_probs, rewards, greedy())


def judge(policy: Policy, data: Data) -> float:
    """The mean score of what it would choose."""
    reports, words = data
    with tg.no_grad():
        return scores_of(reports, policy(words, is_greedy=True)[0]).mean().item()


def train(
    policy: Policy, loss_of: Callable[..., tg.Tensor], learned: Data, test: Data, steps: int
) -> dict[int, float]:
    """Train it by what its choices score; what it scores on the test after so many steps."""
    reports, words = learned
    optimizer = optim.Adam(policy.parameters(), lr=optim.schedules.cosine_decay(RATE, steps))
    found = {0: judge(policy, test)}
    shown = {steps * part // 48 for part in (1, 2, 4, 8, 16, 48)}
    for step in range(1, steps + 1):
        chosen = tg.randint(0, len(reports), (BATCH,))
        batch, batch_words = [reports[i] for i in chosen.tolist()], words[chosen]
        choices, log_probs = policy(batch_words)

        def greedy(batch: list[Report] = batch, words: tg.Tensor = batch_words) -> tg.Tensor:
            with tg.no_grad():
                return scores_of(batch, policy(words, is_greedy=True)[0])

        loss = loss_of(log_probs, scores_of(batch, choices), greedy)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in shown:
            found[step] = judge(policy, test)
    return found


def frequent(report: Report) -> list[int]:
    """The sentences whose words are most frequent in the report, on average."""
    counts = Counter(word for sentence in report.sentences for word in sentence)
    means = [sum(counts[word] for word in s) / len(s) for s in report.sentences]
    return sorted(range(SENTENCES), key=lambda i: -means[i])[:CHOSEN]


def one_by_one(report: Report) -> list[int]:
    """The sentences that raise the score most, one after the other."""
    chosen: list[int] = []
    for _ in range(CHOSEN):
        rest = [i for i in range(SENTENCES) if i not in chosen]
        chosen.append(max(rest, key=lambda i: score(report, [*chosen, i])))
    return chosen


def best(report: Report) -> tuple[int, ...]:
    """The sentences with the highest score of all."""
    return max(
        itertools.combinations(range(SENTENCES), CHOSEN), key=lambda some: score(report, some)
    )


def main() -> None:
    """Train three ways; judge them and the rules."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of training")
    steps = parser.parse_args().steps
    rng = random.Random(0)
    reports = [write_report(rng) for _ in range(LEARNED + TEST)]
    vocabulary = sorted({word for r in reports for s in r.sentences for word in s})
    words = numbered(reports, {word: i for i, word in enumerate(vocabulary, 1)})
    learned, test = reports[:LEARNED], reports[LEARNED:]
    print("A report:\n  " + ".\n  ".join(map(" ".join, test[0].sentences)) + ".")
    print(f"its summary:\n  {' '.join(test[0].summary)}.")

    print(f"\nmean score of {CHOSEN} sentences, {TEST} reports never seen")
    rules: dict[str, Callable[[Report], Any]] = {
        "at random": lambda report: rng.sample(range(SENTENCES), CHOSEN),
        "the first": lambda report: range(CHOSEN),
        "most frequent words": frequent,
        "knowing it, one by one": one_by_one,
        "knowing it, the best pair": best,
    }
    for name, rule in rules.items():
        print(f"  {name:28} {sum(score(report, rule(report)) for report in test) / TEST:.3f}")

    data, held = (learned, words[:LEARNED]), (test, words[LEARNED:])
    curves = {}
    for name, loss_of in {
        "no baseline": no_baseline,
        "mean of others": others_mean,
        "self-critical": self_critical,
    }.items():
        tg.manual_seed(0)
        policy, began = Policy(len(vocabulary)), time.perf_counter()
        curves[name] = train(policy, loss_of, data, held, steps)
        print(
            f"  learned, {name:19} {judge(policy, held):.3f}   {time.perf_counter() - began:.1f} s"
        )

    print("\n    step" + "".join(f"{name:>17}" for name in curves))
    for step in next(iter(curves.values())):
        print(f"{step:8d}" + "".join(f"{curve[step]:17.3f}" for curve in curves.values()))
    with tg.no_grad():
        chosen = policy(words[LEARNED : LEARNED + 1], is_greedy=True)[0][0].tolist()
    print("\nchosen in the report above, self-critically:")
    for i in chosen:
        print(f"  {' '.join(test[0].sentences[i])}.")


if __name__ == "__main__":
    main()
