"""Changes settings of a model over the steps of its training: `train.schedules`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import reduce
from typing import Any

from zslkit.config.train import refused_schedule
from zslkit.errors import UserError
from zslkit.model import GradientModel


class ScheduledSettings:
    """Gives the loss the scheduled values of settings, through the model's own configuration.

    The values stand in the configuration object during a step alone, so that every holder of the
    object sees them, and scores, records and checkpoints have the settings as asked for.

    Raises:
        UserError: A schedule fits no setting of the model.
    """

    def __init__(self, model: GradientModel) -> None:
        self._model = model
        self._schedules = model.config.train.schedules
        self._unread = set(self._schedules)
        for key, schedule in self._schedules.items():
            reason = refused_schedule(type(model.config), key, schedule)
            if not reason:
                holder, name = self._place(key)
                try:
                    schedule.value(0.0, getattr(holder, name))
                except ValueError as error:
                    reason = str(error)
            if reason:
                raise UserError(f"train.schedules.{key} is refused: {reason}")

    @contextmanager
    def at(self, done: float) -> Iterator[None]:
        """The settings in a step; `done` is the share of all steps before this one, 0 to 1.

        Raises:
            UserError: In the first step, the loss did not read a setting that has a schedule.
        """
        with ExitStack() as afterwards:
            for key, schedule in self._schedules.items():
                holder, name = self._place(key)
                values, own = vars(holder), getattr(holder, name)
                afterwards.callback(values.__setitem__, name, own)
                values[name] = schedule.value(done, own)
            for key in self._unread:
                afterwards.enter_context(_noted(*self._place(key), self._unread, key))
            yield
        if self._unread:
            key = min(self._unread)
            raise UserError(
                f"train.schedules.{key} would change nothing: the loss of "
                f"{type(self._model).__name__} did not read self.config.{key} in its first step; "
                f"take the schedule away with --set train.schedules.{key}=null, or read the "
                "setting from self.config where the loss is computed"
            )

    def _place(self, key: str) -> tuple[Any, str]:
        """The configuration object that holds a dotted key, and its name there."""
        *sections, name = key.split(".")
        return reduce(getattr, sections, self._model.config), name


@contextmanager
def _noted(holder: Any, name: str, unread: set[str], key: str) -> Iterator[None]:
    """Take `key` out of `unread` as soon as the setting is read."""

    def reading(config: Any) -> Any:
        unread.discard(key)
        return config.__dict__[name]

    # A property goes before the instance's own value, and torch.compile sees through it.
    setattr(type(holder), name, property(reading))
    try:
        yield
    finally:
        delattr(type(holder), name)
