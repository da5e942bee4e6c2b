"""Everything that a run depends on, in one file, and back from it."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tapegrad import Generator, get_rng_state, load, save, set_rng_state, tensor

from .numbers_of import number

#: The version of what a checkpoint holds.
VERSION = 1
#: The name of the file in the folder of checkpoints.
NAME = "checkpoint.safetensors"


class Checkpoints:
    """When and where a run is saved.

    ``folder``: None for nowhere. ``every``: a number of batches, or "epoch".
    """

    def __init__(self, folder: Any, every: Any) -> None:
        if folder is None and every is not None:
            raise ValueError("save_every says how often; say where to, with checkpoint='folder'")
        if every is None:
            every = "epoch"
        if every != "epoch" and (type(every) is not int or every < 1):
            raise ValueError(f"save_every must be 'epoch' or a number of batches, not {every!r}")
        self.path = None if folder is None else checkpoint_path(folder)
        self.every = every
        self.waiting: list[Path] = []  # where the run is to be saved next
        self._written = False

    def due(self, batches_seen: int) -> None:
        """Note that a batch is over."""
        if self.path is not None and self.every != "epoch" and batches_seen % self.every == 0:
            self.ask(self.path)

    def due_after_epoch(self) -> None:
        """Note that an epoch is over."""
        if self.path is not None:
            self.ask(self.path)

    def ask(self, path: Path) -> None:
        """Have the run saved at the next point between two steps."""
        if path not in self.waiting:
            self.waiting.append(path)

    def write(self, loop: Any) -> None:
        """Save where it was asked for."""
        if self.waiting:
            if not self._written:
                self._clear()
            self._written = True
            state = snapshot(loop)
            for path in self.waiting:
                save(state, path)
            self.waiting = []

    def _clear(self) -> None:
        """Remove what a run left that was killed as it wrote."""
        if self.path is not None:
            for part in self.path.parent.glob(f".{self.path.name}.*"):
                part.unlink(missing_ok=True)


def checkpoint_path(place: str | os.PathLike[str]) -> Path:
    """The file of a checkpoint: in the folder, or the file itself."""
    path = Path(place)
    return path if path.suffix == ".safetensors" or path.is_file() else path / NAME


def is_same_place(a: Any, b: Any) -> bool:
    """Whether two folders or files hold one checkpoint."""
    return checkpoint_path(a).absolute() == checkpoint_path(b).absolute()


def found_checkpoint(place: Any, begins: bool) -> dict[str, Any] | None:
    """The checkpoint in a place; None if there is none and the run may begin there."""
    path = checkpoint_path(place)
    if not path.exists():
        if begins:
            return None
        raise FileNotFoundError(
            f"resume_from: there is no checkpoint at {path}. With the same folder as checkpoint= "
            "a run begins if there is none, and goes on if there is one"
        )
    state = load(path)
    if not isinstance(state, dict) or state.get("version") != VERSION or "place" not in state:
        kind = "of another version" if isinstance(state, dict) and "version" in state else "none"
        raise ValueError(
            f"resume_from: {path} holds no checkpoint of a run that this tapegrad reads ({kind}); "
            "weights alone are loaded with model.load_state_dict(tg.load(path))"
        )
    return state


def snapshot(loop: Any) -> dict[str, Any]:
    """All that the rest of a run depends on: tensors, numbers, strings, and containers of these."""
    trainer = loop.trainer
    return {
        "version": VERSION,
        "kind": kind_of(loop),
        "model": trainer.model.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "schedule": None if trainer.schedule is None else trainer.schedule.state_dict(),
        "ema": None if trainer.ema is None else trainer.ema.state_dict(),
        "place": {
            "epoch": loop.epoch,
            "batch": loop.batch,
            "steps": trainer.steps,
            "batches_seen": trainer.batches_seen,
            "stopped": trainer.stop_training,
            "data": loop.feed.state_dict(),
            "validation": None if loop.validation is None else loop.validation.state_dict(),
        },
        "loss": loop.loss.state_dict(),
        "metrics": {name: state_of(metric) for name, metric in loop.metrics.items()},
        "callbacks": [
            {"kind": type(callback).__name__, "state": state}
            for callback in loop.callbacks
            if (state := callback.state_dict())
        ],
        "random": random_states(trainer.model),
    }


def kind_of(loop: Any) -> dict[str, Any]:
    """What must be the same in the run that goes on."""
    trainer = loop.trainer
    clip = getattr(trainer.optimizer, "clip", {})
    return {
        "loss": named(trainer.loss.loss),
        "penalties": {named(penalty): settled(value) for penalty, value in trainer.penalties.parts},
        "optimizer": type(trainer.optimizer).__name__,
        "clipping": {name: settled(limit) for name, limit in clip.items() if limit is not None},
        "schedule": None if trainer.schedule is None else type(trainer.schedule).__name__,
        "schedule_every": trainer.schedule_every,
        "ema": None if trainer.ema is None else settled(trainer.ema.decay),
        "gradient_accumulation_steps": trainer.gradient_accumulation_steps,
        "metrics": list(loop.metrics),
        "batches": loop.feed.length,
        "order": named(getattr(loop.feed.source, "sampler", None)),
        "class_weight": loop.class_weights is not None,
        "validation": loop.validation is not None,
    }


def named(thing: Any) -> str:
    """The name of a function, or of the class of what else it is."""
    return getattr(thing, "__name__", type(thing).__name__)


def settled(setting: Any) -> Any:
    """A setting as a number, if it is one."""
    return number(setting) if hasattr(setting, "__float__") else named(setting)


def restore(loop: Any, state: dict[str, Any]) -> None:
    """Go to the place of a snapshot; by an error, model and optimizer stay as they were."""
    trainer = loop.trainer
    here, there = kind_of(loop), state["kind"]
    other = [
        f"{k} is {there.get(k)!r} there and {v!r} here"
        for k, v in here.items()
        if there.get(k) != v
    ]
    mine = [(c, type(c).__name__) for c in loop.callbacks if c.state_dict()]
    theirs = [saved["kind"] for saved in state["callbacks"]]
    if theirs != [kind for _, kind in mine]:
        other.append(f"the callbacks with a state are {theirs} there")
        other[-1] += f" and {[kind for _, kind in mine]} here"
    if other:
        raise ValueError(
            "resume_from: the checkpoint is of another run: " + "; ".join(other) + ". Compile and "
            "call fit() as in that run"
        )
    model, optimizer = trainer.model.state_dict(), trainer.optimizer.state_dict()
    place = state["place"]
    try:
        loop.feed.load_state_dict(place["data"])
        if loop.validation is not None:
            loop.validation.load_state_dict(place["validation"])
        trainer.model.load_state_dict(state["model"])
        trainer.optimizer.load_state_dict(state["optimizer"])
        if trainer.schedule is not None:
            trainer.schedule.load_state_dict(state["schedule"])
        if trainer.ema is not None:
            trainer.ema.load_state_dict(state["ema"])
        loop.loss.load_state_dict(state["loss"])
        for name, metric in loop.metrics.items():
            load_state_of(metric, state["metrics"][name])
        for (callback, _), saved in zip(mine, state["callbacks"]):
            callback.load_state_dict(saved["state"])
        restore_random_states(trainer.model, state["random"])
    except BaseException:
        trainer.model.load_state_dict(model)
        trainer.optimizer.load_state_dict(optimizer)
        raise
    loop.epoch, loop.batch = place["epoch"], place["batch"]
    trainer.steps, trainer.batches_seen = place["steps"], place["batches_seen"]
    trainer.stop_training = place["stopped"]


def state_of(metric: Any) -> Any:
    """What a metric has seen."""
    return metric.state_dict() if hasattr(metric, "state_dict") else dict(vars(metric))


def load_state_of(metric: Any, state: Any) -> None:
    """Let a metric have seen that."""
    if hasattr(metric, "load_state_dict"):
        metric.load_state_dict(state)
    else:
        vars(metric).update(state)


def random_states(model: Any) -> dict[str, Any]:
    """The states of all that random numbers come from: the default generator, generators that the
    layers have, and those of Python and NumPy, which data may be changed by."""
    version, words, pending = random.getstate()
    numpy = sys.modules["numpy"].random.get_state(legacy=True)
    return {
        "default": get_rng_state(),
        "layers": [generator.get_state() for generator in _generators(model)],
        "python": [version, tensor(words, dtype="int64"), pending],
        "numpy": [numpy[1], *numpy[2:]],
    }


def restore_random_states(model: Any, states: dict[str, Any]) -> None:
    """Go on from states of random numbers."""
    generators = list(_generators(model))
    if len(generators) != len(states["layers"]):
        raise ValueError(
            f"resume_from: the layers have {len(generators)} generators of random numbers, "
            f"{len(states['layers'])} in the checkpoint"
        )
    for generator, state in zip(generators, states["layers"]):
        generator.set_state(state)
    version, words, pending = states["python"]
    random.setstate((version, tuple(words.tolist()), pending))
    key, *rest = states["numpy"]
    sys.modules["numpy"].random.set_state(("MT19937", key.numpy(), *rest))
    set_rng_state(states["default"])


def _generators(model: Any) -> Iterator[Generator]:
    """The generators that layers have of their own, each once."""
    seen: set[int] = set()
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, Generator) and id(value) not in seen:
                seen.add(id(value))
                yield value
