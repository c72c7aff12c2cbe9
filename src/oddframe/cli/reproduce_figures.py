"""The figures of ``oddframe reproduce``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from oddframe.cli.options import split_list

if TYPE_CHECKING:
    from oddframe.research.grid import Told
    from oddframe.research.reproduce.figures import Trained
    from oddframe.research.session import Session

_UR_DMU = "ur_dmu"


@dataclass(frozen=True)
class Asked:
    """What ``oddframe reproduce`` was asked to draw; see its options."""

    what: tuple[str, ...]
    methods: str
    videos: tuple[str, ...]
    frames: Path | None
    folder: Path
    fresh: bool
    best_on_test: bool = False

    @property
    def figures(self) -> bool:
        """Whether it is figures that are wanted, not tables."""
        return any(name.startswith("figure") for name in self.what)

    def check(self) -> None:
        """Refuse what would be left out without a word.

        Raises:
            UsageError: an option says nothing to what is wanted, or tables are among figures.
        """
        from oddframe.errors import UsageError
        from oddframe.research.reproduce.figures import FIGURES
        from oddframe.research.reproduce.tables import COMPARISONS

        given = {"--video": self.videos, "--methods": self.methods, "--frames": self.frames}
        given = {name: value for name, value in given.items() if value}
        if not self.figures:
            if not {*COMPARISONS, "all"} & set(self.what) and self.methods:
                raise UsageError("--methods is of tables 1 and 2, figures 1 and 4; leave it out")
            if others := [name for name in given if name != "--methods"]:
                raise UsageError(f"{others[0]} is of figures 1 and 4; leave it out")
            return
        if unknown := [name for name in self.what if name not in FIGURES]:
            names = ", ".join(FIGURES)
            raise UsageError(
                f"{unknown[0]}: figures are {names}; tables take a command of their own"
            )
        if self.best_on_test:
            raise UsageError("--best-on-test: figures show the last step; leave it out")
        if "figure3" in self.what and self.videos:
            raise UsageError(
                "--video: figure3 is of all test videos; give it a command of its own, without"
            )
        if set(self.what) == {"figure3"} and given:
            raise UsageError(f"{next(iter(given))} is of figures 1 and 4; leave it out")

    @property
    def named(self) -> list[str]:
        """The methods that were named."""
        return split_list(self.methods)


def draw(asked: Asked, session: Session, jobs: int, told: Told) -> list[str]:
    """Train what is missing, draw, and say what was written, a line each.

    Raises:
        UsageError: there is no such method or video.
        OddframeError: a training failed, or a file cannot be written.
    """
    from oddframe.research.reproduce.figures import figure_tasks, trained

    tasks = figure_tasks(session, _methods(asked))
    networks = trained(session, tasks, jobs, told, fresh=asked.fresh)
    written = []
    for name in dict.fromkeys(asked.what):
        if name == "figure3":
            written += _inside(asked, session, networks)
        else:
            written += _curves(name, asked, session, networks)
    return written


def _methods(asked: Asked) -> list[str]:
    from oddframe.methods.registry import get_method, method_names

    if set(asked.what) == {"figure3"}:
        return [_UR_DMU]
    named = asked.named
    if not named:
        return [name for name in method_names() if not get_method(name).one_class]
    return named + ([_UR_DMU] if "figure3" in asked.what and _UR_DMU not in named else [])


def _curves(name: str, asked: Asked, session: Session, networks: list[Trained]) -> list[str]:
    from oddframe.research.reports.figures import write_curves
    from oddframe.research.reproduce.figures import chosen, curves, unseen_videos

    names = chosen(unseen_videos(session), asked.videos, name)
    shown = curves(session, networks, names)
    png, svg = (asked.folder / f"{name}.{kind}" for kind in ("png", "svg"))
    without = write_curves(shown, png, svg, asked.frames)
    about = f"{', '.join(each.title for each in networks)} over {', '.join(names)}"
    lines = [f"{png}, {svg.name}: {about}"]
    if without:
        lines.append(f"without key frames, for want of the video (--frames): {', '.join(without)}")
    return [*lines, *(f"  {each.title}: {each.record}" for each in networks)]


def _inside(asked: Asked, session: Session, networks: list[Trained]) -> list[str]:
    from oddframe.research.reports.figures import summary, write_inside
    from oddframe.research.reproduce.figures import unseen_videos
    from oddframe.research.reproduce.memory_analysis import look_inside

    each = next(n for n in networks if n.config.method.name == _UR_DMU)
    settings = each.config.chosen_method()[1]
    inside = look_inside(each.network, settings, unseen_videos(session).values())
    png, svg = (asked.folder / f"figure3.{kind}" for kind in ("png", "svg"))
    title = f"{each.title} on {session.setting.dataset}: latents of test snippets, slots in use"
    write_inside(inside, title, png, svg)
    return [f"{png}, {svg.name}: {summary(inside)}", f"  {each.title}: {each.record}"]
