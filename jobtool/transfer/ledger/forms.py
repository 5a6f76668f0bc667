"""Files that are stored in another form than the source's: compressed, or unpacked."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

from jobtool.errors import FileError, NotFoundError
from jobtool.jobs.forms import (
    ENDINGS,
    FORMS,
    LOST_ENDINGS,
    Compression,
    Form,
    form_for,
    planned_path,
    stored_path,
)
from jobtool.jobs.records import IntentRecord, Receipt
from jobtool.transfer.look import look_at
from jobtool.transfer.plan import Plan, path_in
from jobtool.transfer.retry import Retry

#: In the place of a size in bytes: no file is there.
MISSING = -1


class OtherForms:
    """What is known about other forms of a plan's files, beside their planned names.

    ``compression`` is the setting. ``as_they_are`` are the files that keep their planned form,
    since another file of the plan has the name that they would get. Without compressed or unpacked
    files it takes no memory; with them, about 17 bytes for each file of the plan.
    """

    def __init__(self, plan: Plan, compression: Compression = "none") -> None:
        self.compression = compression
        self.as_they_are: set[int] = set()
        self._plan = plan
        self._sizes: dict[Form, array[int]] = {}  # at the destination
        self._intended: dict[int, str] = {}  # URLs
        self._in_force = bytearray()  # by the last receipt: the form's place in FORMS, from 1
        self._receipt_sizes = array("q")

    @property
    def has_any(self) -> bool:
        """Whether any file may have another form at the destination."""
        return self.compression != "none" or bool(self._in_force)

    def wanted(self, number: int) -> Form | None:
        """Return the form that a file may get; None if it is stored as it is."""
        if self.compression == "none" or number in self.as_they_are:
            return None
        return form_for(self._plan.item(number).destination_path, self.compression)

    def note_receipt(self, number: int, receipt: Receipt) -> None:
        """Set the form that a file has by its last receipt."""
        is_known = receipt.compression in FORMS
        if not is_known and not self._in_force:
            return
        self._grow()
        form: Form | None = receipt.compression if is_known else None  # type: ignore[assignment]
        self._in_force[number] = 0 if form is None else 1 + FORMS.index(form)
        self._receipt_sizes[number] = receipt.stored_size

    def in_force(self, number: int) -> Form | None:
        """Return the form that a file has by its last receipt; None if it has none."""
        place = self._in_force[number] if number < len(self._in_force) else 0
        return FORMS[place - 1] if place else None

    def note_intent(self, number: int, intent: IntentRecord) -> None:
        """Set in which form a file is about to be written."""
        self._intended.pop(number, None)
        if intent.compression is not None:
            self._intended[number] = intent.dst_path

    def intended_path(self, number: int) -> str:
        """Return the path at which a file was last about to be written; by default the planned."""
        item = self._plan.item(number)
        url = self._intended.get(number)
        path = None if url is None else path_in(item.route.destination, url)
        return path or item.destination_path

    def _grow(self) -> None:
        missing = len(self._plan) - len(self._in_force)
        self._in_force.extend(bytes(missing))
        self._receipt_sizes.extend(array("q", [MISSING]) * missing)

    def to_look_for(self, number: int) -> set[Form]:
        """Return the forms in which a file may be at the destination."""
        return {form for form in (self.wanted(number), self.in_force(number)) if form is not None}

    def found(self, number: int, form: Form, size: int) -> None:
        """Record the size in bytes of a file that the destination has in a form."""
        sizes = self._sizes.setdefault(form, array("q"))
        sizes.extend(array("q", [MISSING]) * (len(self._plan) - len(sizes)))
        sizes[number] = size

    def found_at(self, path: str, size: int) -> None:
        """Record a listed file of a tree that isn't at a planned path, if it is of a planned file.

        ``size`` is in bytes.
        """
        for form in FORMS if self.has_any else ():
            planned = planned_path(path, form)
            number = None if planned == path else self._plan.find_path(0, planned)
            if number is not None and form in self.to_look_for(number):
                self.found(number, form, size)

    def forget_found(self) -> None:
        """Forget what the destination has."""
        self._sizes.clear()

    def size_of(self, number: int, form: Form) -> int:
        """Return the size in bytes of a file in a form at the destination, or ``MISSING``."""
        sizes = self._sizes.get(form, ())
        return sizes[number] if number < len(sizes) else MISSING

    def is_wanted_there(self, number: int) -> bool:
        """Return True if the destination has a file in the form that it may get."""
        form = self.wanted(number) if self._sizes else None
        return form is not None and self.size_of(number, form) != MISSING

    def is_as_received(self, number: int) -> bool:
        """Return True if the destination has a file in its form in force, of the right size."""
        form = self.in_force(number)
        return form is not None and self.size_of(number, form) == self._receipt_sizes[number]

    def note_received(self, files: Iterable[tuple[bool, int]]) -> None:
        """Set what the holder of the job knows of each file: if it keeps its form, and the size in
        bytes of the file in the form that it may get, or ``MISSING``.
        """
        for number, (is_as_it_is, size) in enumerate(files):
            if is_as_it_is:
                self.as_they_are.add(number)
            form = self.wanted(number)
            if form is not None and size != MISSING:
                self.found(number, form, size)

    def find_collisions(self, retry: Retry) -> None:
        """Set ``as_they_are``, once the plan is listed.

        Files beside those of a job that names its files may be of other jobs, so the source is
        asked for them. Raises the errors of stores, and ``StoppedError``.
        """
        self.as_they_are = set()
        if self.compression == "none":
            return
        if self._plan.is_tree:
            self.as_they_are.update(self._collisions_in_tree(self.compression))
        else:
            self.as_they_are.update(self._collisions_of_named(retry))

    def _collisions_in_tree(self, compression: Compression) -> Iterator[int]:
        if compression in ENDINGS and not self._plan.is_any_named_with(ENDINGS[compression]):
            return
        specials = {special.path for _, special in self._plan.specials()}
        for number in range(len(self._plan)):
            for path in self._rivals(number, self._plan.item(number).destination_path):
                is_file = self._plan.find_path(0, path) is not None
                if is_file or path in specials or self._plan.has_below(0, path):
                    yield number
                    break

    def _collisions_of_named(self, retry: Retry) -> Iterator[int]:
        plan = self._plan
        taken = {plan.item(number).destination_url for number in range(len(plan))}
        for first, last, destination in plan.route_ranges():
            asked: list[tuple[int, str]] = []
            for number in range(first, last):
                item = plan.item(number)
                rivals = self._rivals(number, item.destination_path)
                if not taken.isdisjoint(map(destination.url_of, rivals)):
                    yield number
                else:
                    asked += [(number, path) for path in self._rivals(number, item.entry.path)]
            if not asked:
                continue
            found = look_at(plan.route_of(first).source, (path for _, path in asked), retry)
            for (number, _), one in zip(asked, found, strict=True):
                if isinstance(one, FileError) and one.retryable:
                    raise one
                if not isinstance(one, NotFoundError):
                    yield number

    def _rivals(self, number: int, path: str) -> list[str]:
        """Return the paths with which the form of a file at ``path`` would collide."""
        form = self.wanted(number)
        if form is None or (form in LOST_ENDINGS and not path.endswith(LOST_ENDINGS[form])):
            return []
        other = stored_path(path, form)
        # "a.zst" becomes "a" rather than "a.gz".
        return [other, other + ".zst"] if form == "unpack-gzip" else [other]
