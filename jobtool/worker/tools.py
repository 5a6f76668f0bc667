"""What a worker brings to each attempt at a job."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from jobtool.events import Emit
from jobtool.jobs.claim import Claims
from jobtool.jobs.joblist import JobList
from jobtool.jobs.limits import Bandwidth
from jobtool.methods.method import Method
from jobtool.steps.plugins import StepPlugins
from jobtool.stores.registry import StoreRegistry
from jobtool.transfer.copy import Copier
from jobtool.worker.doubt import Doubts
from jobtool.worker.events import JobProgress
from jobtool.worker.options import ResolvedOptions
from jobtool.worker.pace import Pace


class AttemptTools(msgspec.Struct, frozen=True, kw_only=True):
    """What all attempts of a worker have in common.

    ``worker`` is its name in logs. ``watch`` is passed the progress several times a second.
    ``pace`` says whether a job can be done in time, ``doubts`` what else works when files are
    refused.
    ``plugins`` has the steps besides ``copy``, ``methods`` the methods before ``stream``.
    ``use_routes`` sets the limits of the leg that a package is moved over.
    """

    joblist: JobList
    worker: str
    options: ResolvedOptions
    emit: Emit
    watch: Callable[[JobProgress], None]
    claims: Claims
    stores: StoreRegistry
    copier: Copier
    plugins: StepPlugins
    methods: tuple[Method, ...]
    pace: Pace
    doubts: Doubts
    use_routes: Callable[[Mapping[str, Bandwidth]], None]
