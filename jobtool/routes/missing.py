"""What would be needed where no route goes from one place to another."""

from __future__ import annotations

from jobtool.names import quote
from jobtool.routes.sites import Sites


def no_way(sites: Sites, origin: str, target: str) -> str:
    """Return the message for two places, each ``SITE`` or ``SITE.LOCATION``, without a route."""
    first, last = origin.partition(".")[0], target.partition(".")[0]
    where = f"{quote(sites.path)}: no route goes from {origin} to {target}"
    between = [
        rule for rule in sites.routes if (rule.origin.site, rule.target.site) == (first, last)
    ]
    if between:
        shown = ", ".join(
            f"{rule.name} ({rule.origin.text()} to {rule.target.text()})" for rule in between
        )
        return f"{where}. Those between the two sites have other locations: {shown}"
    onward = {rule.target.site for rule in sites.routes if rule.origin.site == first}
    back = {rule.origin.site for rule in sites.routes if rule.target.site == last}
    vias = sorted(site for site in onward & back if "buffer" in sites.sites[site].locations)
    has_buffers = all("buffer" in sites.sites[site].locations for site in (first, last))
    if vias and first != last and has_buffers:
        return (
            f"{where}. There are routes to {vias[0]} and on from there: add [[routes]] with "
            f'type = "relay", from = "{first}", to = "{last}", via = "{vias[0]}"'
        )
    ends = (
        f"{first}.{_location(sites, origin)}",
        f"{last}.{_location(sites, target)}",
    )
    return f'{where}. Add [[routes]] with type = "custom", from = "{ends[0]}", to = "{ends[1]}"'


def _location(sites: Sites, text: str) -> str:
    site, _, location = text.partition(".")
    return location or next(iter(sites.sites[site].locations))
