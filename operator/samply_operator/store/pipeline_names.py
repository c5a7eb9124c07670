"""What pipelines are called, by Feldera's id: one small file of the volume, for when Feldera is away.

Only the operator touches it. Profiles keep the name that their pipeline had when they were recorded; they are shown
under the one that it has now.
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
