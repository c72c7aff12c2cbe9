"""What a search has tried, line by line on disk, so that an interrupted one goes on."""

from __future__ import annotations

import json
from pathlib import Path

from oddframe.errors import OddframeError
from oddframe.files import exists, json_text, opened, told, write_text
from oddframe.training.search import Setting, Trial


class TrialLog:
    """Trials by a key that says all that a trial depends on; kept as JSON lines.

    A line that was cut off when the process was killed is dropped: its trial is done again.

    Raises:
        OddframeError: the file cannot be read or written.
    """

    def __init__(self, path: Path):
        self.path = path
        self._trials: dict[str, Trial] = {}
        text = ""
        if exists(path):
            with told(path), opened(path, OddframeError) as file:
                text = file.read().decode(errors="replace")
        for line in text.splitlines():
            try:
                row = json.loads(line)
                key, setting = row.pop("key"), Setting(**row.pop("setting"))
                self._trials[key] = Trial(setting, **row)
            except (ValueError, KeyError, TypeError):
                continue

    def __len__(self) -> int:
        return len(self._trials)

    def get(self, key: str) -> Trial | None:
        """The trial of that key, if it was done."""
        return self._trials.get(key)

    def add(self, key: str, trial: Trial) -> None:
        """Keep a trial."""
        self._trials[key] = trial
        rows = [
            {**vars(each), "setting": vars(each.setting), "key": name}
            for name, each in self._trials.items()
        ]
        write_text(self.path, "".join(json_text(row, nan_is_null=False) + "\n" for row in rows))
