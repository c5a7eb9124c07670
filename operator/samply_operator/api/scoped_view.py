"""The view of a caller who may see only some pipelines, by Feldera's ids: others are hidden.

Routes get this view instead of the complete one, so that they need not know about it. A pipeline without an id, or one
that is only partly visible, is hidden.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from samply_operator.api.state import View
from samply_operator.control.live import Live
from samply_operator.control.messages import PipelineState, Update
from samply_operator.store.index import build_catalog


def limit(view: View, visible: Mapping[str, str]) -> View:
    """`visible`: the names by id under which the caller knows the pipelines."""
    stored = (
        replace(manifest, pipeline=visible[manifest.pipeline_id])
        for manifest in view.catalog.by_id.values()
        if manifest.pipeline_id in visible
    )
    live = _limit_live(view.live, visible) if view.live else None
    unread = {
        r.id: replace(r, pipeline=visible[r.pipeline_id]) for r in view.unread.values() if r.pipeline_id in visible
    }
    return View(build_catalog(stored), live, view.is_ready, unread, view.is_listed)


def _limit_live(live: Live, visible: Mapping[str, str]) -> Live:
    return Live().apply(
        Update(
            pipelines=tuple(
                replace(pipeline, name=visible[pipeline.pipeline_ids[0]])
                for pipeline in live.pipelines.values()
                if _is_visible(pipeline, visible)
            ),
            recordings=tuple(
                replace(recording, pipeline=visible[recording.pipeline_id])
                for recording in live.by_id.values()
                if recording.pipeline_id in visible
            ),
            store_generation=live.store_generation,
            sent_at=live.sent_at,
            is_synced=live.is_synced,
            enabled=live.enabled,
        )
    )


def _is_visible(pipeline: PipelineState, visible: Mapping[str, str]) -> bool:
    return bool(pipeline.pipeline_ids) and all(each in visible for each in pipeline.pipeline_ids)
