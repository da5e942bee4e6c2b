"""Losses of detection: against loops that follow the papers; edges and refusals."""

import math

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import losses
from tapegrad.losses import detection_loss, ssd_loss, yolo_v1_loss


@pytest.fixture
def rng():
    return np.random.default_rng(24)


def leaf(data):
    return tg.tensor(np.asarray(data, dtype=float), requires_grad=True)


# -- anchors: detection_loss, ssd_loss ----------------------------------------------------------


def scene(rng, images=3, anchors=40, classes=4, share=0.1, ignored=0.2):
    boxes, targets = rng.standard_normal((2, images, anchors, 4)) * 1.5
    logits = rng.standard_normal((images, anchors, classes)) * 2
    labels = np.where(
        rng.random((images, anchors)) < share, rng.integers(1, classes, (images, anchors)), 0
    )
    labels = np.where(rng.random((images, anchors)) < ignored, -100, labels)
    return boxes, logits, targets, labels


def tensors(arrays):
    return [tg.tensor(a) for a in arrays]


def naive_ssd(boxes, logits, targets, labels, alpha=1.0, ratio=3.0):
    """Equations (1) to (3) of the paper, and mining as in its section 2.2."""
    confidence = localisation = 0.0
    matched = 0
    for n in range(len(boxes)):
        positives = [a for a in range(len(labels[n])) if labels[n, a] > 0]
        negatives = [a for a in range(len(labels[n])) if labels[n, a] == 0]
        cost = {}
        for a in positives + negatives:
            c = np.exp(logits[n, a]) / np.exp(logits[n, a]).sum()
            cost[a] = -math.log(c[labels[n, a]])
        negatives.sort(key=lambda a: -cost[a])
        negatives = negatives[: int(ratio * len(positives))]
        confidence += sum(cost[a] for a in positives + negatives)
        for a in positives:
            for m in range(4):
                x = abs(boxes[n, a, m] - targets[n, a, m])
                localisation += 0.5 * x * x if x < 1 else x - 0.5
        matched += len(positives)
    return (confidence + alpha * localisation) / matched if matched else 0.0


@pytest.mark.parametrize("ratio", [3.0, 1.0, 2.5, 0.0, 100.0])
def test_ssd_in_a_loop(ratio, rng):
    for _ in range(10):
        arrays = scene(rng)
        found = ssd_loss(*tensors(arrays), alpha=0.7, negative_ratio=ratio)
        assert found.item() == pytest.approx(naive_ssd(*arrays, 0.7, ratio), rel=1e-12)


def test_three_negatives_for_each_positive(rng):
    boxes, logits, targets, labels = scene(rng, share=0.05)
    x = leaf(logits)
    loss = ssd_loss(tg.tensor(boxes), x, tg.tensor(targets), tg.tensor(labels))
    counted = (tg.grad(loss, x)[0].numpy() != 0).any(-1)
    for n in range(len(labels)):
        positives = (labels[n] > 0).sum()
        assert counted[n].sum() == min(4 * positives, (labels[n] >= 0).sum())
        assert counted[n][labels[n] > 0].all() and not counted[n][labels[n] < 0].any()


def test_equal_negatives_are_not_too_many():
    labels = tg.tensor([[1] + [0] * 9])
    logits = tg.zeros(1, 10, 2)
    loss = ssd_loss(tg.zeros(1, 10, 4), logits, tg.zeros(1, 10, 4), labels)
    assert loss.item() == pytest.approx(4 * math.log(2))


def test_without_positives(rng):
    boxes, logits, targets, labels = scene(rng, share=0.0)
    x, y = leaf(boxes), leaf(logits)
    loss = ssd_loss(x, y, tg.tensor(targets), tg.tensor(labels))
    assert loss.item() == 0.0
    assert all((g.numpy() == 0.0).all() for g in tg.grad(loss, (x, y)))
    # all negatives count where there is no mining, and the sum is divided by 1
    loss = detection_loss(x, y, tg.tensor(targets), tg.tensor(labels))
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    assert loss.item() == pytest.approx(-log_p[..., 0][labels == 0].sum())
    ignored = np.full_like(labels, -100)
    loss = detection_loss(x, y, tg.tensor(targets), tg.tensor(ignored))
    assert loss.item() == 0.0 and (tg.grad(loss, y)[0].numpy() == 0.0).all()


def test_one_image_without_positives_has_no_negatives(rng):
    arrays = scene(rng, share=0.2)
    arrays[3][1] = np.where(arrays[3][1] > 0, 0, arrays[3][1])
    each = ssd_loss(*tensors(arrays), reduction="none").numpy()
    assert each.shape == (3, 40) and (each[1] == 0.0).all() and (each[0] > 0).any()


@pytest.mark.parametrize("loss", ["smooth_l1", "giou", "ciou", "mse"])
@pytest.mark.parametrize("garbage", [math.nan, math.inf, -1e30])
def test_what_stands_beside_no_object_has_no_effect(loss, garbage, rng):
    boxes, logits, targets, labels = scene(rng)
    for x in (boxes, targets):
        x[..., 2:] = x[..., :2] + np.exp(x[..., 2:])
    expected = detection_loss(*tensors((boxes, logits, targets, labels)), box_loss=loss).item()
    for x in (boxes, targets):
        x[labels <= 0] = garbage
    x, y = leaf(boxes), leaf(logits)
    found = detection_loss(x, y, tg.tensor(targets), tg.tensor(labels), box_loss=loss)
    assert found.item() == expected
    slope = tg.grad(found, x)[0].numpy()
    assert np.isfinite(slope).all() and (slope[labels <= 0] == 0.0).all()


def test_both_terms_with_weights(rng):
    boxes, logits, targets, labels = scene(rng)
    positive, kept = labels > 0, labels >= 0
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    classes = -np.take_along_axis(log_p, np.maximum(labels, 0)[..., None], -1)[kept].sum()
    e = np.abs(boxes - targets)[positive]
    coordinates = np.where(e < 1, 0.5 * e * e, e - 0.5).sum()
    a, b = leaf(0.3), leaf(2.5)
    loss = detection_loss(*tensors((boxes, logits, targets, labels)), a, b)
    assert loss.item() == pytest.approx((0.3 * coordinates + 2.5 * classes) / positive.sum())
    slopes = [g.item() for g in tg.grad(loss, (a, b))]
    assert slopes == pytest.approx([coordinates / positive.sum(), classes / positive.sum()])
    total = detection_loss(*tensors((boxes, logits, targets, labels)), 0.3, 2.5, reduction="sum")
    assert total.item() == pytest.approx(loss.item() * positive.sum())


def test_losses_of_ones_own(rng):
    operands = tensors(scene(rng))
    expected = detection_loss(*operands).item()
    given = [
        {"box_loss": losses.SmoothL1Loss(reduction="none")},
        {"class_loss": losses.CrossEntropyLoss(reduction="none")},
        {"box_loss": lambda a, b: losses.smooth_l1_loss(a, b, reduction="none").sum(dim=-1)},
        {"class_loss": lambda z, y: losses.nll_loss(tg.log_softmax(z, dim=1), y, reduction="none")},
    ]
    for settings in given:
        assert detection_loss(*operands, **settings).item() == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match=r'box_loss must not reduce \(say reduction="none"\)'):
        detection_loss(*operands, box_loss=losses.MSELoss())
    with pytest.raises(ValueError, match=r"class_loss must not reduce .* \(120,\), not \(\)"):
        detection_loss(*operands, class_loss=losses.CrossEntropyLoss())
    with pytest.raises(ValueError, match="no loss is called 'gious'"):
        detection_loss(*operands, box_loss="gious")


def test_another_background_and_another_index_to_ignore(rng):
    boxes, logits, targets, labels = scene(rng)
    expected = ssd_loss(*tensors((boxes, logits, targets, labels))).item()
    turned = np.where(labels >= 0, (labels - 1) % 4, 255)
    found = ssd_loss(
        *tensors((boxes, np.roll(logits, -1, -1), targets, turned)), background=3, ignore_index=255
    )
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_one_image_needs_no_batch(rng):
    arrays = scene(rng, images=1, share=0.3)
    found = ssd_loss(*tensors([a[0] for a in arrays]))
    assert found.item() == ssd_loss(*tensors(arrays)).item()


def test_ssd_is_stable_at_large_logits():
    logits = leaf([[[1e4, -1e4], [-1e4, 1e4], [0.0, 0.0]]])
    labels = tg.tensor([[1, 0, 0]])
    loss = ssd_loss(tg.zeros(1, 3, 4), logits, tg.zeros(1, 3, 4), labels)
    assert loss.item() == pytest.approx(40000 + math.log(2))
    assert np.isfinite(tg.grad(loss, logits)[0].numpy()).all()


def test_anchors_refuse():
    boxes, logits, labels = tg.zeros(2, 5, 4), tg.zeros(2, 5, 3), tg.tensor(np.zeros((2, 5), int))
    for function in (detection_loss, ssd_loss):
        for wrong in (
            (boxes[..., :3], logits, boxes[..., :3], labels),
            (boxes, logits[:, :4], boxes, labels),
            (boxes, logits, boxes[:1], labels),
            (boxes, logits, boxes, labels[..., None]),
            (boxes[0, 0], logits[0, 0], boxes[0, 0], labels[0, 0]),
        ):
            with pytest.raises(ValueError, match=r"takes boxes \(N, A, 4\), logits \(N, A, C\)"):
                function(*wrong)
        with pytest.raises(
            ValueError, match=r"a label is outside 0 … 2 and not .* labels entry \[0, 0\] is 3"
        ):
            function(boxes, logits, boxes, labels + 3)
        with pytest.raises(TypeError, match="labels must be class indices"):
            function(boxes, logits, boxes, labels.float())
        with pytest.raises(TypeError, match="logits must be floating point, not int64"):
            function(boxes, logits.long(), boxes, labels)
        with pytest.raises(TypeError, match="logits must be a tensor"):
            function(boxes, logits.tolist(), boxes, labels)


def test_logits_of_ignored_anchors_have_no_effect(rng):
    boxes, logits, targets, labels = scene(rng)
    for function in (detection_loss, ssd_loss):
        expected = function(*tensors((boxes, logits, targets, labels))).item()
        for anything in (math.nan, math.inf, -math.inf):
            logits[labels == -100] = anything
            x = leaf(logits)
            loss = function(tg.tensor(boxes), x, tg.tensor(targets), tg.tensor(labels))
            assert loss.item() == expected
            slope = tg.grad(loss, x)[0].numpy()
            assert np.isfinite(slope).all() and (slope[labels == -100] == 0.0).all()


def test_weights_of_anchors(rng):
    arrays = scene(rng)
    weight = leaf(rng.random((3, 40)))
    found = detection_loss(*tensors(arrays), box_weight=weight, class_weight=0.0, reduction="sum")
    each = detection_loss(*tensors(arrays), class_weight=0.0, reduction="none").numpy()
    np.testing.assert_allclose(tg.grad(found, weight)[0].numpy(), each, rtol=1e-12)


def test_settings_of_anchors_refuse(rng):
    operands = tensors(scene(rng))
    for wrong in (4, -1, -100, 0.0, None):
        with pytest.raises(
            ValueError, match=rf"background must be one of the 4 classes .*, not {wrong}"
        ):
            detection_loss(*operands, background=wrong)
        with pytest.raises(ValueError, match="background must be one of"):
            ssd_loss(*operands, background=wrong)
    for name in ("box_weight", "class_weight"):
        for wrong in (tg.ones(3), tg.ones(2, 3, 40), tg.ones(3, 40, 1)):
            with pytest.raises(ValueError, match=rf"{name} must be .* broadcast to \(3, 40\)"):
                detection_loss(*operands, **{name: wrong})
        with pytest.raises(TypeError, match=f"{name} must be a number or a tensor"):
            detection_loss(*operands, **{name: None})
    for wrong in (-1, -0.5, math.nan):
        with pytest.raises(ValueError, match="negative_ratio must not be negative"):
            detection_loss(*operands, negative_ratio=wrong)
    with pytest.raises(TypeError, match="negative_ratio must be a number or a tensor, not str"):
        ssd_loss(*operands, negative_ratio="3")
    with pytest.raises(ValueError, match="negative_ratio must be one number"):
        ssd_loss(*operands, negative_ratio=tg.ones(3))


# -- YOLOv1 -----------------------------------------------------------------------------------


def overlap_of(a, b):
    """IoU of (centre, size) boxes."""
    w = min(a[0] + a[2] / 2, b[0] + b[2] / 2) - max(a[0] - a[2] / 2, b[0] - b[2] / 2)
    h = min(a[1] + a[3] / 2, b[1] + b[3] / 2) - max(a[1] - a[3] / 2, b[1] - b[3] / 2)
    both = max(w, 0.0) * max(h, 0.0)
    union = a[2] * a[3] + b[2] * b[3] - both
    return both / union if union else 0.0


def naive_yolo(input, target, boxes=2, coord=5.0, noobj=0.5):
    """Equation (3) of the paper; the loss of each image."""
    found = []
    for image, truths in zip(input, target):
        total = 0.0
        for row, column in np.ndindex(image.shape[:2]):
            cell, truth = image[row, column], truths[row, column]
            predicted = cell[: 5 * boxes].reshape(boxes, 5)
            responsible = -1
            if truth[4] == 1:
                scale = np.array([1 / image.shape[1], 1 / image.shape[0], 1, 1])
                ious = [overlap_of(box[:4] * scale, truth[:4] * scale) for box in predicted]
                responsible = int(np.argmax(ious))
                if max(ious) == 0:
                    far = [(((box[:4] - truth[:4]) * scale) ** 2).sum() for box in predicted]
                    responsible = int(np.argmin(far))
                x, y, w, h, confidence = predicted[responsible]
                total += coord * ((x - truth[0]) ** 2 + (y - truth[1]) ** 2)
                total += coord * (math.sqrt(w) - math.sqrt(truth[2])) ** 2
                total += coord * (math.sqrt(h) - math.sqrt(truth[3])) ** 2
                total += (confidence - ious[responsible]) ** 2
                total += ((cell[5 * boxes :] - truth[5:]) ** 2).sum()
            for j in range(boxes):
                if j != responsible:
                    total += noobj * predicted[j, 4] ** 2
        found.append(total)
    return found


def grid(rng, images=3, rows=4, columns=5, boxes=2, classes=3, share=0.5):
    input = rng.random((images, rows, columns, 5 * boxes + classes))
    target = rng.random((images, rows, columns, 5 + classes))
    target[..., 4] = rng.random((images, rows, columns)) < share
    target[..., 5:] = np.eye(classes)[rng.integers(0, classes, (images, rows, columns))]
    return input, target


@pytest.mark.parametrize("boxes", [1, 2, 3])
@pytest.mark.parametrize("size", [1.0, 0.02])
def test_yolo_in_a_loop(boxes, size, rng):
    for _ in range(10):
        input, target = grid(rng, boxes=boxes)
        for j in range(boxes):
            input[..., 5 * j + 2 : 5 * j + 4] *= size  # small ones overlap rarely
        target[..., 2:4] *= size
        expected = naive_yolo(input, target, boxes)
        found = yolo_v1_loss(tg.tensor(input), tg.tensor(target), boxes=boxes, reduction="none")
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-11)
        mean = yolo_v1_loss(tg.tensor(input), tg.tensor(target), boxes=boxes)
        assert mean.item() == pytest.approx(np.mean(expected), rel=1e-12)


def test_yolo_of_a_grid_of_7_by_7_and_20_classes(rng):
    input, target = grid(rng, 2, 7, 7, 2, 20, 0.06)
    found = yolo_v1_loss(tg.tensor(input), tg.tensor(target), 3.0, 0.25, reduction="none")
    expected = naive_yolo(input, target, coord=3.0, noobj=0.25)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-11)


def test_the_gradient_of_yolo_with_its_targets_held(rng):
    """Differences of the loop, with the confidence's targets as they were."""
    input, target = grid(rng, 1, 1, 1, 2, 2, 1.0)
    target[..., 4] = 1.0
    x = leaf(input)
    slope = tg.grad(yolo_v1_loss(x, tg.tensor(target)), x)[0].numpy()[0, 0, 0]
    scale = target[0, 0, 0]
    ious = [overlap_of(input[0, 0, 0, 5 * j : 5 * j + 4], scale[:4]) for j in range(2)]
    best = int(np.argmax(ious))
    own = input[0, 0, 0, 5 * best : 5 * best + 5]
    expected = np.zeros(12)
    expected[5 * best : 5 * best + 2] = 10 * (own[:2] - scale[:2])
    expected[5 * best + 2 : 5 * best + 4] = 5 * (1 - np.sqrt(scale[2:4] / own[2:4]))
    expected[5 * best + 4] = 2 * (own[4] - ious[best])
    expected[5 * (1 - best) + 4] = input[0, 0, 0, 5 * (1 - best) + 4]
    expected[10:] = 2 * (input[0, 0, 0, 10:] - scale[5:])
    np.testing.assert_allclose(slope, expected, rtol=1e-10)


def test_both_lambdas_have_gradients(rng):
    input, target = grid(rng)
    coord, noobj = leaf(5.0), leaf(0.5)
    loss = yolo_v1_loss(tg.tensor(input), tg.tensor(target), coord, noobj)
    terms = [naive_yolo(input, target, coord=c, noobj=n) for c, n in ((0, 0), (1, 0), (0, 1))]
    base, by_coord, by_noobj = (np.mean(t) for t in terms)
    slopes = [g.item() for g in tg.grad(loss, (coord, noobj))]
    assert slopes == pytest.approx([by_coord - base, by_noobj - base])


def test_the_first_of_equal_boxes_is_responsible():
    x = leaf(np.full((1, 1, 1, 11), 0.5))
    target = tg.tensor([0.25, 0.5, 0.5, 0.5, 1.0, 1.0]).double().reshape(1, 1, 1, 6)
    slope = tg.grad(yolo_v1_loss(x, target), x)[0].numpy().ravel()
    assert slope[0] != 0.0 and slope[5] == 0.0


def test_a_width_of_0(rng):
    """The root's slope is infinite there, and taken to be 0."""
    input, target = grid(rng, 1, 1, 1, 1, 1, 1.0)
    target[..., 4] = 1.0
    for zero in ("input", "target", "both"):
        a, b = input.copy(), target.copy()
        if zero != "target":
            a[..., 2] = 0.0
        if zero != "input":
            b[..., 2] = 0.0
        x = leaf(a)
        loss = yolo_v1_loss(x, tg.tensor(b), boxes=1)
        assert loss.item() == pytest.approx(naive_yolo(a, b, 1)[0])
        (slope,) = tg.grad(loss, x, create_graph=True)
        assert np.isfinite(slope.detach().numpy()).all()
        assert zero == "target" or slope[0, 0, 0, 2].item() == 0.0
    a[..., 2:4] = b[..., 2:4] = 0.0  # two points: IoU 0
    assert math.isfinite(yolo_v1_loss(tg.tensor(a), tg.tensor(b), boxes=1).item())


def test_cells_without_an_object_are_looked_at_for_their_confidence_only(rng):
    input, target = grid(rng, share=0.4)
    expected = yolo_v1_loss(tg.tensor(input), tg.tensor(target)).item()
    empty = target[..., 4] == 0
    target[empty] = [math.nan] * 4 + [0.0] + [math.inf] * 3
    input[empty, 2] = -3.0
    x = leaf(input)
    loss = yolo_v1_loss(x, tg.tensor(target))
    assert loss.item() == expected
    slope = tg.grad(loss, x)[0].numpy()
    assert np.isfinite(slope).all()
    assert (slope[empty][:, [0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 12]] == 0.0).all()
    np.testing.assert_allclose(slope[empty][:, [4, 9]], input[empty][:, [4, 9]] / 3)


def test_yolo_without_any_object():
    x = leaf(np.full((2, 7, 7, 30), 0.5))
    loss = yolo_v1_loss(x, tg.zeros(2, 7, 7, 25).double())
    assert loss.item() == pytest.approx(98 * 0.5 * 0.25)


def test_yolo_refuses(rng):
    input, target = grid(rng, 1, 2, 2, 2, 3, 1.1)
    x, t = tg.tensor(input), tg.tensor(target)

    def changed(at, value):
        other = target.copy()
        other[0, 1, 0, at] = value
        return tg.tensor(other)

    for wrong in (
        (x, t[..., :-1]),
        (x[..., :9], t),
        (x[0], t[0]),
        (x, t[:, :1]),
        (x, t[..., None]),
    ):
        with pytest.raises(ValueError, match=r"with 2 boxes a cell takes input .* 10 \+ C\)"):
            yolo_v1_loss(*wrong)
    with pytest.raises(ValueError, match=r"with 3 boxes a cell"):
        yolo_v1_loss(x, t, boxes=3)
    with pytest.raises(
        ValueError, match=r"target\[..., 4\] .* 1 or 0, but entry \[0, 1, 0\] is 0.5"
    ):
        yolo_v1_loss(x, changed(4, 0.5))
    with pytest.raises(
        ValueError, match=r"target\[..., :4\] must be in \[0, 1\], but entry \[0, 1, 0, 2\] is 64"
    ):
        yolo_v1_loss(x, changed(2, 64.0))
    input[0, 1, 0, 7] = -0.5
    with pytest.raises(ValueError, match=r"cannot be negative, .*\[0, 1, 0, 1, 0\] is -0.5; end"):
        yolo_v1_loss(tg.tensor(input), t)


def test_settings_of_yolo_refuse(rng):
    x, t = tensors(grid(rng))
    for wrong in (0, -1, 2.0, None, "two"):
        with pytest.raises(ValueError, match=f"boxes must be an integer.*, not {wrong!r}"):
            yolo_v1_loss(x, t, boxes=wrong)
    for name in ("lambda_coord", "lambda_noobj"):
        for wrong in (tg.ones(3), tg.ones(2, 3, 4, 5, 2)):
            with pytest.raises(ValueError, match=rf"{name} must be .* to \(3, 4, 5, 2\)"):
                yolo_v1_loss(x, t, **{name: wrong})
        with pytest.raises(TypeError, match=f"{name} must be a number or a tensor"):
            yolo_v1_loss(x, t, **{name: None})
    assert yolo_v1_loss(x, t, boxes=np.int64(2)).item() == yolo_v1_loss(x, t).item()


def test_names():
    for name, form in {
        "detection": losses.DetectionLoss,
        "ssd": losses.SSDLoss,
        "SSDLoss": losses.SSDLoss,
        "yolo_v1": losses.YOLOv1Loss,
        "yolov1": losses.YOLOv1Loss,
    }.items():
        assert type(losses.get(name)) is form
    assert repr(losses.YOLOv1Loss(3.0, boxes=1)) == "YOLOv1Loss(lambda_coord=3.0, boxes=1)"
