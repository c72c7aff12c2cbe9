"""Methods by name."""

from __future__ import annotations

from oddframe.errors import UsageError, nearest_name
from oddframe.methods.base import AnyMethod
from oddframe.methods.mil.acf import Acf
from oddframe.methods.mil.bnwvad import BnWvad
from oddframe.methods.mil.claws import Claws
from oddframe.methods.mil.crfd import Crfd
from oddframe.methods.mil.gcn import Gcn
from oddframe.methods.mil.hlnet import HlNet
from oddframe.methods.mil.ibl import Ibl
from oddframe.methods.mil.linear import Linear
from oddframe.methods.mil.ma import Ma
from oddframe.methods.mil.mist import Mist
from oddframe.methods.mil.msl import Msl
from oddframe.methods.mil.oddframe import Oddframe
from oddframe.methods.mil.pang import Pang
from oddframe.methods.mil.pel4vad import Pel4Vad
from oddframe.methods.mil.rtfm import Rtfm
from oddframe.methods.mil.sultani import Sultani
from oddframe.methods.one_class.hasan import Hasan
from oddframe.methods.one_class.lu import Lu
from oddframe.methods.one_class.normality import Normality
from oddframe.methods.unsupervised.gcl import Gcl
from oddframe.methods.urdmu.method import UrDmu

_METHODS: dict[str, AnyMethod] = {
    method.name: method
    for method in (
        Oddframe(),
        UrDmu(),
        Linear(),
        Normality(),
        Sultani(),
        Rtfm(),
        HlNet(),
        Pel4Vad(),
        BnWvad(),
        Msl(),
        Gcn(),
        Crfd(),
        Mist(),
        Claws(),
        Ibl(),
        Ma(),
        Pang(),
        Acf(),
        Hasan(),
        Lu(),
        Gcl(),
    )
}
# What ``oddframe train`` trains without ``--method``: in the league it is ahead of every published
# method and level with the linear baseline.
DEFAULT_METHOD = Oddframe.name


def method_names() -> tuple[str, ...]:
    """Names of all methods, the default one first."""
    return tuple(_METHODS)


def get_method(name: str) -> AnyMethod:
    """The method of that name.

    Raises:
        UsageError: there is none; the message names the one that was probably meant, or all.
    """
    if method := _METHODS.get(name):
        return method
    near = nearest_name(name, _METHODS)
    hint = f"did you mean {near!r}?" if near else f"known are {', '.join(_METHODS)}"
    raise UsageError(f"there is no method {name!r}: {hint}")
