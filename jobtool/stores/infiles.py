"""Locations in stores that lie inside a file of another store, such as a package's members."""

from __future__ import annotations

from jobtool.stores.location import LOCAL, Location, parent_of, type_of


def service_url(url: str) -> str:
    """Return the URL that clients and credentials must be for; the URL itself for most stores.

    For a store inside a file of another store it is the folder of the file, since what is beside
    the file is read, too. Nothing is checked.
    """
    kind = type_of(url)
    if kind is None or kind.split is None:
        return url
    scheme, _, rest = url.partition("+")[2].partition("://")
    name, slash, path = rest.partition("/")
    start = slash if scheme == LOCAL else f"{scheme}://{name}{slash}"
    found = kind.split(path)
    return service_url(parent_of(start + found[0])[0] if found else start + path)


def file_around(location: Location) -> tuple[str, str]:
    """Return the folder and the name of the file that a location's store lies in.

    Only for a type with ``split``.
    """
    root = location.root.partition("+")[2]
    return parent_of(root.removeprefix(f"{LOCAL}://"))
