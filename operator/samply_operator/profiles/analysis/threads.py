"""Distinct names for threads and processes of the same name. Pure."""

from __future__ import annotations

from collections import Counter

from samply_operator.profiles.format.profile import Profile


def name_processes(profile: Profile) -> dict[str, str]:
    """By pid: the process's name, with its number behind it where another process has the same name."""
    names = {thread.pid: thread.process_name or "process" for thread in profile.threads}
    count = Counter(names.values())
    return {pid: f"{name} ({pid})" if count[name] > 1 else name for pid, name in names.items()}


def title(profile: Profile) -> dict[int, str]:
    """By the thread's index: its name and number, behind its process where there are several."""
    processes = name_processes(profile)
    return {
        thread.index: f"{processes[thread.pid]}: {thread.name} ({thread.tid})"
        if len(processes) > 1
        else f"{thread.name} ({thread.tid})"
        for thread in profile.threads
    }
