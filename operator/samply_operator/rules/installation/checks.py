"""The result of each check from the facts of an installation, with remedies. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from samply_operator.errors import SamplyOperatorError
from samply_operator.model import names
from samply_operator.model.check import Check, Report, Status
from samply_operator.plural import count
from samply_operator.rules.discovery.naming import Naming
from samply_operator.rules.discovery.unwatched import Unwatched, suggest
from samply_operator.rules.recording import failures

ENFORCE = "pod-security.kubernetes.io/enforce"
STRICT = frozenset({"baseline", "restricted"})
MIB = 1024 * 1024
SHOWN = 5
"""Maximum number of names in a message; for more, their number is given."""


def judge_rights(missing: Sequence[str]) -> Check:
    if not missing:
        return Check("Rights", "Passed", "The operator's ServiceAccount has every permission that it needs.")
    return Check(
        "Rights",
        "Failed",
        f"The operator's ServiceAccount {_join(missing)}.",
        "Set rbac.create=true in the chart's values, or grant these yourself (docs/security.md).",
    )


def judge_selector(
    selectors: Sequence[str], pipelines: int, unwatched: Sequence[Unwatched], namespaces: Sequence[str]
) -> Check:
    """`pipelines` is the number of pipelines found."""
    where = ", ".join(namespaces) or "all namespaces"
    wanted = [each.describe() for each in unwatched if each.is_annotated]
    if wanted:
        return Check(
            "Selector",
            "Failed",
            f"Annotated, and not watched: {_join(wanted)}.",
            suggest(unwatched, selectors),
        )
    if pipelines:
        return Check("Selector", "Passed", f"{count(pipelines, 'pipeline')} found in {where}.")
    message = f"No StatefulSet or pod in {where} matches {describe_selectors(selectors)}"
    if unwatched:
        message += f"; {_join([each.describe() for each in unwatched])} may be pipelines"
    remedy = suggest(unwatched, selectors) or (
        "Set config.targets.podSelector to the labels of your pipelines' pods, and config.targets.namespaces to where "
        "they are; nothing is to be done if there are none yet."
    )
    return Check("Selector", "Failed" if unwatched else "Warning", message + ".", remedy)


def describe_selectors(selectors: Sequence[str]) -> str:
    return "config.targets.podSelector (" + " or ".join(text or "everything" for text in selectors) + ")"


def judge_names(namings: Sequence[Naming], *, is_feldera_asked: bool) -> Check:
    """Of all pipelines found."""
    skipped_names = [repr(word) for naming in namings for word in naming.skipped_names]
    if skipped_names:
        return Check(
            "Names",
            "Warning",
            f"Invalid names of pipelines, ignored: {_join(skipped_names)}.",
            "A name has 1 to 100 letters, digits, dashes, underscores and dots, and begins with none of the latter.",
        )
    contradicted = [f"{n.name} (in Feldera {n.feldera_name})" for n in namings if n.feldera_name not in {"", n.name}]
    if contradicted:
        return Check(
            "Names",
            "Warning",
            f"A label contradicts Feldera, and counts: {_join(contradicted)}.",
            f"Remove the label or annotation {names.PIPELINE}, or make it the same.",
        )
    by_id = [naming.name for naming in namings if naming.pipeline_id and naming.name == naming.pipeline_id]
    if not by_id:
        return Check("Names", "Passed", "Every pipeline found has a name.")
    if is_feldera_asked:
        remedy = (
            "Give the Secret of config.feldera.secretName a key of each tenant. Of two with one name neither has it."
        )
    else:
        remedy = f"Set config.feldera.url and secretName, or label the StatefulSets with {names.PIPELINE}."
    return Check("Names", "Warning", f"Without a name, called by their ids: {_join(by_id)}.", remedy)


def judge_kernel(paranoid: int | None, node: str) -> Check:
    """Of the operator's node: preflights check the others, and know what a kernel makes of a level above 2."""
    where = f"node {node}" if node else "the operator's node"
    if paranoid is None:
        return Check("Kernel", "Unknown", f"kernel.perf_event_paranoid of {where} cannot be read.", "Try a preflight.")
    told = f"kernel.perf_event_paranoid is {paranoid} on {where}"
    if paranoid <= 1:
        return Check("Kernel", "Passed", f"{told}: samply may record.")
    remedy = (
        "samply 0.13.1 in a pipeline's image needs 1; mode Ephemeral works at 2. Above 2 a preflight tells "
        "(docs/kernels.md)."
    )
    return Check("Kernel", "Warning", f"{told}.", remedy)


def judge_pod_security(namespace: str, labels: Mapping[str, str], *, is_ephemeral: bool) -> Check:
    level = labels.get(ENFORCE, "")
    if level not in STRICT:
        message = f"Namespace {namespace} enforces no Pod Security level that refuses PERFMON."
        return Check("PodSecurity", "Passed", message, namespace=namespace)
    message = f"Namespace {namespace} enforces Pod Security {level}: it admits neither PERFMON nor "
    message += "ephemeral containers with it." if is_ephemeral else "containers with it."
    return Check("PodSecurity", "Failed", message, failures.REMEDIES["EphemeralRefused"], namespace)


def judge_helper_image(image: str, stuck: Sequence[str], *, is_enabled: bool) -> Check:
    """`stuck` are pods whose ephemeral container waits for its image, with the reason."""
    if not is_enabled:
        return Check("HelperImage", "Passed", "Mode Ephemeral is switched off: no image is needed for it.")
    if stuck:
        message = f"The image {image} of mode Ephemeral cannot be pulled: {_join(stuck)}."
        return Check("HelperImage", "Failed", message, failures.REMEDIES["ImagePullFailed"])
    return Check("HelperImage", "Passed", f"No pod waits for the image {image} of mode Ephemeral.")


def judge_volume(free_bytes: int | None, min_free_bytes: int, fault: str) -> Check:
    """`fault`: why it cannot be written; empty: it can."""
    if fault or free_bytes is None:
        return Check("Volume", "Failed", f"The volume cannot be used: {fault}.", "Look at the PersistentVolumeClaim.")
    told = f"{free_bytes // MIB} MiB are free on the volume"
    if free_bytes < min_free_bytes:
        remedy = "Enlarge the claim, or lower what config.retention keeps."
        return Check("Volume", "Failed", f"{told}: less than config.recording.minFreeBytes.", remedy)
    return Check("Volume", "Passed", f"{told}.")


def judge_feldera(
    url: str, known: int, faults: Mapping[str, SamplyOperatorError], skipped: Mapping[str, SamplyOperatorError]
) -> Check:
    """`known` is the number of pipelines in Feldera; `faults` by entry of the Secret, `skipped` likewise: some of the
    pipelines cannot be read."""
    if not url:
        message = "Feldera's API is not used: config.feldera.url is empty."
        return Check("Feldera", "Passed", message)
    found = faults or skipped
    if not found:
        return Check("Feldera", "Passed", f"Feldera's API at {url} answers: {count(known, 'pipeline')}.")
    entry, error = next(iter(found.items()))
    others = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    message = f"With the key {entry}{others}: {error.message}"
    return Check("Feldera", "Failed" if faults else "Warning", message, error.remedy)


def build_report(found: Sequence[Check]) -> Report:
    """The overall status is the worst one."""
    statuses = {check.status for check in found}
    order: tuple[Status, ...] = ("Failed", "Unknown", "Warning")
    return Report(next((status for status in order if status in statuses), "Passed"), tuple(found))


def _join(items: Sequence[str]) -> str:
    rest = f", and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return "; ".join(items[:SHOWN]) + rest
