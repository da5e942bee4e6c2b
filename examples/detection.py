"""Detection: find squares, disks and triangles in small pictures, with a box around each.

A picture of 32 by 32 noisy pixels shows one or two shapes. A network of convolutions looks at its
16 cells of 8 by 8 pixels; for each cell it gives the scores of four classes (background and the
three shapes) and a box. The cell in which the centre of a shape lies is to find it: the others are
background, and their boxes do not count. The loss is the sum of a cross-entropy over all cells and
of the GIoU loss over the boxes that count.

On pictures never seen, every cell that is not background by its highest score is a detection; each
true shape takes the detection that overlaps it most. Printed are the mean IoU (0 for a shape that
is missed), the share of shapes found with an IoU of at least 1/2 and their right class, and how
many detections no shape took.

Run it with ``python examples/detection.py``; it takes a third of a minute. The picture, which needs
Matplotlib, is written to ``out/detection.png``.

Source: Redmon et al. (2016), You only look once, for the cells; Rezatofighi et al. (2019),
Generalized intersection over union.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import tapegrad as tg
from tapegrad import losses, nn, optim

STEPS, BATCH, RATE = 1500, 32, 3e-3
SIDE, CELL, NOISE = 32, 8, 0.2
CELLS = (SIDE // CELL) ** 2
CLASSES = ("background", "square", "disk", "triangle")


class Scenes(NamedTuple):
    """Pictures, and for every cell the class and the box (x1, y1, x2, y2) of its shape."""

    pictures: tg.Tensor  # (N, 1, SIDE, SIDE)
    labels: tg.Tensor  # (N, CELLS), 0 for background
    boxes: tg.Tensor  # (N, CELLS, 4), 0 for background


def cell_of(centre: tg.Tensor) -> tg.Tensor:
    """The number of the cell in which a point (..., 2) lies; cells are counted row by row."""
    column_row = (centre / CELL).long()
    return column_row[..., 1] * (SIDE // CELL) + column_row[..., 0]


def draw_scenes(count: int) -> Scenes:
    """Pictures at random; a second shape is drawn where it does not touch the first."""
    half = 3.0 + 3.0 * tg.rand(count, 2)
    centre = half[..., None] + (SIDE - 2.0 * half[..., None]) * tg.rand(count, 2, 2)
    # Two pixels between them at least, and so more than CELL between their centres.
    apart = (centre[:, 0] - centre[:, 1]).abs().amax(dim=-1) > half.sum(dim=1) + 2.0
    shape = tg.randint(1, len(CLASSES), (count, 2))
    shape = tg.stack([shape[:, 0], tg.where(apart, shape[:, 1], 0)], 1)  # 0: not there

    place = tg.arange(SIDE) + 0.5
    x, y = centre[..., 0, None, None], centre[..., 1, None, None]
    dx, dy = (place - x).abs(), place[:, None] - y
    kind, r = shape[..., None, None], half[..., None, None]
    square = (kind == 1) & (dx <= r) & (dy.abs() <= r)
    disk = (kind == 2) & (dx**2 + dy**2 <= r**2)
    triangle = (kind == 3) & (dx <= (dy + r) / 2.0) & (dy <= r)
    pictures = (square | disk | triangle).any(dim=1, keepdim=True).float()
    pictures = pictures + NOISE * tg.randn(*pictures.shape)

    # Of every cell and both shapes: is it this one that lies there?
    here = (cell_of(centre)[..., None] == tg.arange(CELLS)) & (shape[..., None] > 0)
    corners = tg.cat([centre - half[..., None], centre + half[..., None]], dim=-1)
    labels = (here * shape[..., None]).sum(dim=1)
    boxes = (here[..., None] * corners[:, :, None]).sum(dim=1)
    return Scenes(pictures, labels, boxes)


class Detector(nn.Module):
    """Convolutions down to one place for each cell."""

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, channels, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(2 * channels, 4 * channels, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(4 * channels, 4 * channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(4 * channels, 4 + len(CLASSES), 1),
            nn.Flatten(2),
        )
        place = CELL * tg.arange(SIDE // CELL)
        columns, rows = tg.meshgrid(place, place, indexing="xy")
        self.register_buffer("corner", tg.stack([columns, rows], -1).reshape(CELLS, 2))

    def forward(self, pictures: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        """Boxes (N, CELLS, 4) and scores (N, CELLS, 4)."""
        outputs = self.body(pictures).transpose(1, 2)
        centre = self.corner + CELL * tg.sigmoid(outputs[..., :2])  # anywhere in the cell
        half = SIDE / 2 * tg.sigmoid(outputs[..., 2:4])  # positive, so that corners are in order
        return tg.cat([centre - half, centre + half], dim=-1), outputs[..., 4:]


def train(steps: int) -> Detector:
    """A detector, trained on pictures that are drawn anew for each step."""
    model = Detector()
    optimizer = optim.Adam(model.parameters(), lr=optim.schedules.cosine_decay(RATE, steps))
    loss_of = losses.DetectionLoss(box_loss="giou")
    print("    step     loss")
    for step in range(1, steps + 1):
        scenes = draw_scenes(BATCH)
        boxes, scores = model(scenes.pictures)
        loss = loss_of(boxes, scores, scenes.boxes, scenes.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step == 1 or step % max(steps // 5, 1) == 0:
            print(f"{step:8d}   {loss.item():.4f}", flush=True)
    return model


def measure(model: Detector, scenes: Scenes) -> dict[str, float]:
    """What is found of the shapes in pictures."""
    with tg.no_grad():
        boxes, scores = model(scenes.pictures)
    classes = scores.argmax(dim=-1)
    # IoU of every cell's true box with every cell's detection, in each picture.
    true, found = tg.broadcast_tensors(scenes.boxes[:, :, None], boxes[:, None])
    iou = 1.0 - losses.iou_loss(found, true, reduction="none")
    iou = tg.where((classes > 0)[:, None], iou, 0.0)
    best, taken = iou.max(dim=2)
    right = tg.take_along_dim(classes, taken, dim=1) == scenes.labels

    is_shape = scenes.labels > 0
    shapes = is_shape.sum().item()
    hits = is_shape & (best >= 0.5)
    took = nn.functional.one_hot(taken, CELLS).bool() & hits[..., None]
    free = (classes > 0) & ~took.any(dim=1)
    return {
        "mean IoU": best[is_shape].mean().item(),
        "found": hits.sum().item() / shapes,
        "class right of those found": right[hits].double().mean().item() if hits.any() else 0.0,
        "found, and class right": (hits & right).sum().item() / shapes,
        "false detections per picture": free.sum().item() / len(free),
    }


def draw(model: Detector, scenes: Scenes, path: Path) -> None:
    """Pictures with the boxes found."""
    try:
        import matplotlib
    except ImportError:
        print('No picture: it needs Matplotlib, pip install "tapegrad[plot]"')
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with tg.no_grad():
        boxes, scores = model(scenes.pictures[:10])
    classes = scores.argmax(dim=-1)
    figure, axes = plt.subplots(2, 5, figsize=(10, 4.4), layout="constrained")
    for i, ax in enumerate(axes.flat):
        ax.imshow(scenes.pictures[i, 0].numpy(), cmap="gray", extent=(0, SIDE, SIDE, 0))
        ax.set(xticks=[], yticks=[])
        for box, label in zip(boxes[i].tolist(), classes[i].tolist(), strict=True):
            if label:
                x1, y1, x2, y2 = box
                ax.plot([x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], color=f"C{label}")
                ax.text(x1, y1 - 0.5, CLASSES[label], color=f"C{label}", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(f"\nPicture: {path}")


def main() -> None:
    """Train and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of training")
    parser.add_argument("--out", type=Path, default=Path("out"))
    options = parser.parse_args()
    tg.manual_seed(0)
    held = draw_scenes(500)
    began = time.perf_counter()
    model = train(options.steps)
    print(f"  {time.perf_counter() - began:.1f} s\n")
    print(f"{(held.labels > 0).sum().item()} shapes in {len(held.labels)} pictures never seen:")
    for name, value in measure(model, held).items():
        shown = f"{value:.3f}" if "IoU" in name or "per" in name else f"{value:.1%}"
        print(f"  {name:30}{shown:>7}")
    draw(model, held, options.out / "detection.png")


if __name__ == "__main__":
    main()
