"""What a person or a program reads: score files, pages, pictures, videos."""

import os
from contextlib import suppress
from pathlib import Path

from oddframe._utils.files import cache_dir

# Matplotlib makes two folders in the user's home and keeps its list of fonts there. Where it has no
# configuration yet, it gets a folder in our cache instead. It reads this when it is first imported.
with suppress(RuntimeError):  # There is no home folder.
    if not Path(
        os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "matplotlib"
    ).exists():
        os.environ.setdefault("MPLCONFIGDIR", str(cache_dir() / "matplotlib"))
