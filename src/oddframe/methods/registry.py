"""All methods by name. A new method is one module and one line here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from oddframe.errors import UsageError, nearest_name

if TYPE_CHECKING:
    from oddframe.methods.base import AnyMethod, Recipe, Supervision, Verification

# Each is imported when it is first used, so names are listed without importing PyTorch. The
# default comes first: in the league it ranks ahead of every published method and level with the
# linear baseline.
_METHODS = {
    "oddframe": "oddframe.methods.mil.oddframe:Oddframe",
    "ur_dmu": "oddframe.methods.mil.urdmu:UrDmu",
    "linear": "oddframe.methods.mil.linear:Linear",
    "logistic": "oddframe.methods.mil.logistic:Logistic",
    "normality": "oddframe.methods.normality:Normality",
    "sultani": "oddframe.methods.mil.sultani:Sultani",
    "rtfm": "oddframe.methods.mil.rtfm:Rtfm",
    "hl_net": "oddframe.methods.mil.hlnet:HlNet",
    "pel4vad": "oddframe.methods.mil.pel4vad:Pel4Vad",
    "bn_wvad": "oddframe.methods.mil.bnwvad:BnWvad",
    "msl": "oddframe.methods.mil.msl:Msl",
    "gcn": "oddframe.methods.mil.gcn:Gcn",
    "crfd": "oddframe.methods.mil.crfd:Crfd",
    "mist": "oddframe.methods.mil.mist:Mist",
    "claws": "oddframe.methods.mil.claws:Claws",
    "ibl": "oddframe.methods.mil.ibl:Ibl",
    "ma": "oddframe.methods.mil.ma:Ma",
    "pang": "oddframe.methods.mil.pang:Pang",
    "acf": "oddframe.methods.mil.acf:Acf",
    "hasan": "oddframe.methods.hasan:Hasan",
    "lu": "oddframe.methods.lu:Lu",
    "gcl": "oddframe.methods.gcl:Gcl",
}
DEFAULT_METHOD = next(iter(_METHODS))


@dataclass(frozen=True)
class MethodSummary:
    """A method, as ``list_methods`` lists it.

    Attributes:
        name: What ``oddframe.train`` and ``oddframe train --method`` call it.
        title: Name in print.
        year: Year of publication.
        paper: Authors, title, venue.
        supervision: What it knows of the training videos: ``video labels`` (weakly supervised),
            ``normal videos`` (one class) or ``none`` (unsupervised).
        inputs: What it reads, in words.
        reads_sound: Whether it reads visual and audio features as two modalities.
        checked: How the implementation was verified: ``parity`` with the published code, ``from the
            paper`` or, where there is neither, ``ours``.
        recipe: How it is trained by default.
    """

    name: str
    title: str
    year: int
    paper: str
    supervision: Supervision
    inputs: str
    reads_sound: bool
    checked: Verification
    recipe: Recipe


def list_methods() -> tuple[MethodSummary, ...]:
    """All methods that can be trained, the default first.

    Examples:
        >>> import oddframe
        >>> methods = oddframe.list_methods()
        >>> methods[0].name
        'oddframe'
        >>> [method.name for method in methods if method.reads_sound]
        ['pang', 'acf']
        >>> [method.title for method in methods if method.supervision == "normal videos"]
        ['Normality', 'Hasan et al.', 'Lu et al.']
        >>> ur_dmu = methods[1]
        >>> ur_dmu.year, ur_dmu.recipe.lr, ur_dmu.recipe.steps
        (2023, 0.0001, 3000)
    """
    return tuple(
        MethodSummary(
            name=method.name,
            title=method.title,
            year=method.year,
            paper=method.info.paper,
            supervision=method.supervision,
            inputs=method.info.inputs,
            reads_sound=method.reads_sound,
            checked=method.info.checked,
            recipe=method.recipe,
        )
        for method in map(get_method, _METHODS)
    )


def method_names() -> tuple[str, ...]:
    """Names of all methods, the default first."""
    return tuple(_METHODS)


def get_method(name: str) -> AnyMethod:
    """The method of that name; UsageError, with the most similar name, if there is none."""
    if path := _METHODS.get(name):
        return _load(path)
    near = nearest_name(name, _METHODS)
    hint = f"did you mean {near!r}?" if near else f"known are {', '.join(_METHODS)}"
    raise UsageError(f"there is no method {name!r}: {hint}")


@cache
def _load(path: str) -> AnyMethod:
    method: AnyMethod = resolve_name(path)()
    return method
