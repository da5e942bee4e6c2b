"""Segmentation: mark small bright disks in noisy pictures, where almost all pixels are background.

A small network of convolutions gives every pixel a score; a pixel is marked where its probability
is above a threshold. Of the pixels 3 % belong to disks. Four losses train the same network on the
same pictures from the same weights:

- cross-entropy, where the many pixels of the background outweigh the few others;
- the same with a disk's pixels counted tenfold, which is the idea of U-Net's weights;
- focal loss, which passes over pixels that are easy;
- Dice loss, which is made of the overlap itself.

They are compared on pictures never seen, by IoU and Dice of all marked pixels and the true ones.
Each loss leaves its probabilities on a level of its own: at the threshold 1/2 focal loss marks too
little and weights mark too much. So there is a second comparison, each at the threshold that is
best on validation pictures, where little is left of the difference. What remains is that Dice loss
needs no such choice, and that it is quick to begin: after 50 steps cross-entropy and focal loss
mark nothing at all (``--steps 50``).

Run it with ``python examples/segmentation.py``; it takes a minute. The picture, which needs
Matplotlib, is written to ``out/segmentation.png``.

Source: Milletari et al. (2016), V-Net; Lin et al. (2017), Focal loss for dense object detection;
Ronneberger et al. (2015), U-Net.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import tapegrad as tg
from tapegrad import losses, nn, optim

STEPS, RUNS, BATCH, RATE = 1000, 2, 16, 5e-3
SIDE, DISKS, NOISE, CHANNELS = 32, 3, 0.6, 8
THRESHOLDS = [k / 20 for k in range(1, 20)]

#: Of scores and masks.
LOSSES: dict[str, Callable[..., tg.Tensor]] = {
    "cross-entropy": losses.BCEWithLogitsLoss(),
    "weighted 10 : 1": losses.BCEWithLogitsLoss(pos_weight=tg.tensor(10.0)),
    "focal": losses.FocalLoss(),
    "Dice": lambda scores, mask: losses.dice_loss(tg.sigmoid(scores), mask, smooth=1.0),
}


def draw_pictures(count: int) -> tuple[tg.Tensor, tg.Tensor]:
    """Pictures with up to three disks in noise, and masks of the disks, (count, 1, SIDE, SIDE)."""
    place = tg.arange(SIDE)
    x, y = SIDE * tg.rand(count, DISKS, 1, 1), SIDE * tg.rand(count, DISKS, 1, 1)
    radius = 1.5 + 1.5 * tg.rand(count, DISKS, 1, 1)
    is_there = tg.rand(count, DISKS, 1, 1) < 0.6
    inside = (place - x) ** 2 + (place[:, None] - y) ** 2 < radius**2
    mask = (inside & is_there).any(dim=1, keepdim=True).float()
    return mask + NOISE * tg.randn(*mask.shape), mask


def make_model() -> nn.Sequential:
    """Convolutions that keep the size; each score sees 9 by 9 pixels."""
    return nn.Sequential(
        nn.Conv2d(1, CHANNELS, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(CHANNELS, CHANNELS, 3, padding=2, dilation=2),
        nn.ReLU(),
        nn.Conv2d(CHANNELS, 1, 1),
    )


def train(loss_of: Callable[..., tg.Tensor], steps: int, seed: int) -> nn.Module:
    """A network, trained on pictures that are drawn anew for each step."""
    tg.manual_seed(seed)
    model = make_model()
    optimizer = optim.Adam(model.parameters(), lr=optim.schedules.cosine_decay(RATE, steps))
    for _ in range(steps):
        pictures, masks = draw_pictures(BATCH)
        loss = loss_of(model(pictures), masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def overlap(marked: tg.Tensor, mask: tg.Tensor) -> tuple[float, float]:
    """IoU and Dice of what is marked and what is true."""
    marked = marked.float()
    iou, dice = losses.jaccard_loss(marked, mask), losses.dice_loss(marked, mask)
    return 1.0 - iou.item(), 1.0 - dice.item()


def probabilities(model: nn.Module, pictures: tg.Tensor) -> tg.Tensor:
    """That a pixel belongs to a disk."""
    with tg.no_grad():
        return tg.sigmoid(model(pictures))


def draw(pictures: tg.Tensor, mask: tg.Tensor, found: dict[str, tg.Tensor], path: Path) -> None:
    """Some pictures, the truth, and what each loss marks at the threshold 1/2."""
    try:
        import matplotlib
    except ImportError:
        print('No picture: it needs Matplotlib, pip install "tapegrad[plot]"')
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    columns = {"picture": pictures, "truth": mask} | {k: p > 0.5 for k, p in found.items()}
    figure, axes = plt.subplots(4, len(columns), figsize=(9, 6.4), layout="constrained")
    for column, (name, shown) in zip(axes.T, columns.items(), strict=True):
        column[0].set_title(name)
        for ax, image in zip(column, shown, strict=False):
            ax.imshow(image[0].numpy(), cmap="gray")
            ax.set(xticks=[], yticks=[])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(f"\nPicture: {path}")


def main() -> None:
    """The comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of training")
    parser.add_argument("--runs", type=int, default=RUNS, help="runs that are averaged over")
    parser.add_argument("--out", type=Path, default=Path("out"))
    options = parser.parse_args()
    tg.manual_seed(0)
    valid_x, valid_mask = draw_pictures(200)
    held_x, held_mask = draw_pictures(500)
    print(
        f"{held_mask.mean().item():.1%} of the pixels belong to disks. Held-out pictures, means of "
        f"{options.runs} runs:\n\n"
        f"{'':16}{'at the threshold 1/2':^30}{'at the best in validation':^32}\n"
        f"{'loss':16}  marked     IoU    Dice      threshold     IoU    Dice"
    )
    found = {}
    for name, loss_of in LOSSES.items():
        rows = []
        for seed in range(1, options.runs + 1):
            model = train(loss_of, options.steps, seed)
            valid_p, held_p = probabilities(model, valid_x), probabilities(model, held_x)
            best = max(THRESHOLDS, key=lambda t: overlap(valid_p > t, valid_mask)[0])
            marked = (held_p > 0.5).float().mean().item()
            plain, chosen = (overlap(held_p > t, held_mask) for t in (0.5, best))
            rows.append((marked, *plain, best, *chosen))
        found[name] = held_p
        marked, iou, dice, best, best_iou, best_dice = tg.tensor(rows).mean(0).tolist()
        print(
            f"{name:16}{marked:8.1%}{iou:8.3f}{dice:8.3f}{best:15.2f}{best_iou:8.3f}{best_dice:8.3f}",
            flush=True,
        )
    draw(held_x, held_mask, found, options.out / "segmentation.png")


if __name__ == "__main__":
    main()
