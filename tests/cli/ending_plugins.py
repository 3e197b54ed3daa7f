"""A stranger's plugins that try to end the program, each in a way of its own."""

from __future__ import annotations

PLUGIN = """
import ctypes, os, sys, threading, time

import click
import numpy as np
import torch

from zslkit.dataset import Dataset, DatasetSource, Split
from zslkit.errors import UserError
from zslkit.model import Model
from zslkit.semantics import Semantics

print("printed")
os.write(1, b"written to the descriptor\\n")
if os.name == "posix":
    ctypes.CDLL(None).puts(b"put by native code")
    ctypes.CDLL(None).fflush(None)


class Odd(BaseException):
    pass


class Unreadable(Exception):
    def __str__(self):
        sys.exit(0)


class Free(UserError):
    exit_code = 0


ENDS = {
    "exit": lambda: sys.exit(0),
    "interrupt": lambda: (_ for _ in ()).throw(type("Mine", (KeyboardInterrupt,), {})()),
    "generator": lambda: (_ for _ in ()).throw(GeneratorExit()),
    "odd": lambda: (_ for _ in ()).throw(Odd()),
    "hard": lambda: os._exit(0),
    "click": lambda: (_ for _ in ()).throw(click.exceptions.Exit(0)),
    "abort": lambda: (_ for _ in ()).throw(click.Abort()),
    "file": lambda: (_ for _ in ()).throw(EOFError()),
    "unreadable": lambda: (_ for _ in ()).throw(Unreadable()),
    "free": lambda: (_ for _ in ()).throw(Free("mine")),
}


class Good(Model):
    inputs = ("pooled",)
    citation = "A Stranger, 2030"

    def fit(self, view, trainer):
        pass

    def scores(self, x):
        return -torch.cdist(x, self.attributes)


class Leaves(Good):
    def fit(self, view, trainer):
        threading.Thread(target=time.sleep, args=(3600,)).start()


class Sleeps(Good):
    def fit(self, view, trainer):
        with open(os.environ["MARK"], "a") as mark:
            mark.write(f"{os.getpid()}\\n")
        for _ in range(36000):
            time.sleep(0.1)


class Quits(Good):
    def fit(self, view, trainer):
        ENDS[os.environ["QUIT"]]()


class QuitsMade(Good):
    def __init__(self, config, task):
        ENDS[os.environ["QUIT"]]()


class QuitsScoring(Good):
    def scores(self, x):
        ENDS[os.environ["QUIT"]]()


class Tiny(DatasetSource):
    def load(self, name, root):
        attributes, labels = np.eye(4, dtype=np.float32), np.repeat(np.arange(4), 6)
        parts = ([0, 1, 2, 6, 7, 8, 12, 13, 14], [3, 9, 15], [18, 19])
        split = Split(*(np.array(part) for part in parts))
        semantics = Semantics(attributes, ("a", "b", "c", "d"))
        return Dataset(name, tuple("wxyz"), labels, split, semantics, features=attributes[labels])
"""
ENTRIES = """[zslkit.models]
good = ending_plugin:Good
leaves = ending_plugin:Leaves
sleeps = ending_plugin:Sleeps
quits = ending_plugin:Quits
quits-made = ending_plugin:QuitsMade
quits-scoring = ending_plugin:QuitsScoring
quits-loaded = ending_loaded:Mine
[zslkit.datasets]
ending-tiny = ending_plugin:Tiny
"""
LOADED = """
import os
from ending_plugin import ENDS, Good
class Mine(Good): ...
if "QUIT" in os.environ:
    ENDS[os.environ["QUIT"]]()
"""
