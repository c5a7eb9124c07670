"""Current names of pipelines by Feldera's id: one small file of the volume, for times when Feldera is unavailable.

Only the operator uses it. Profiles keep the name of their pipeline at the time of recording, and are shown under its
current one.
"""

from __future__ import annotations

from pathlib import Path

from samply_operator.model.manifest import PipelineNames
from samply_operator.store import documents, durable, layout


def read(root: Path) -> PipelineNames:
    """Empty if nothing was ever written. Raises CorruptManifest, StoreError. Blocks."""
    with durable.translated("read the pipelines' names"):
        return documents.read_names(root / layout.PIPELINES)


def write(root: Path, names: PipelineNames) -> None:
    """Replace them; on return they are on the disk. Raises StoreFull, StoreError. Blocks."""
    draft = root / f"{layout.PIPELINES}.new"
    with durable.translated("write the pipelines' names"):
        draft.unlink(missing_ok=True)
        durable.write(draft, documents.encode(names))
        draft.rename(root / layout.PIPELINES)
        durable.sync(root)
