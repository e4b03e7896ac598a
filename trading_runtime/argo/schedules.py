"""Whether a schedule is one that Argo's CronWorkflows take, and whether it ever comes.

Argo reads five fields with the standard parser of github.com/robfig/cron (its doc.go: minute, hour, day of month,
month, day of week 0-6), which knows less than croniter does: no ``L``, no ``#``, no seventh day, no sixth field.
"""

from __future__ import annotations

import re

_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_DAYS = "sun|mon|tue|wed|thu|fri|sat"
_WORDS = (None, None, None, _MONTHS, _DAYS)
# What the descriptors mean, field by field (doc.go, "Predefined schedules"). Not @every: it counts from the start of
# the controller, at no minute that anybody could name.
_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


def schedule_problem(text: str) -> str | None:
    """Return what is wrong with a schedule, to be read after its text; None when nothing is."""
    from croniter import CroniterBadDateError, CroniterError, croniter  # type: ignore[import-untyped]

    fields = _DESCRIPTORS.get(text, text).split()
    if len(fields) != len(_WORDS):
        return "is no schedule of five fields"
    for field, words in zip(fields, _WORDS, strict=True):
        value = "[0-9]{1,2}" if words is None else f"(?:[0-9]{{1,2}}|{words})"
        one = rf"(?:\*|\?|{value}(?:-{value})?)(?:/[1-9][0-9]?)?"
        if not re.fullmatch(rf"{one}(?:,{one})*", field.lower()):
            return f"is no schedule of five fields: Argo cannot read {field!r}"
        for first, last in re.findall(r"([0-9]+)-([0-9]+)", field):
            if int(first) > int(last):
                return f"is no schedule of five fields: {first}-{last} ends before it begins"
    if re.search(r"(?:^|[,-])0*7(?:$|[,/-])", fields[4]):
        return "is no schedule of five fields: days of the week are 0 to 6, Sunday is 0"
    try:
        # From one fixed time: whether it comes at all must not depend on today.
        croniter(" ".join(fields).replace("?", "*"), 0.0, max_years_between_matches=9).get_next(float)
    except CroniterBadDateError:
        return "never comes: no month has such a day"
    except (CroniterError, ValueError, KeyError):
        return "is no schedule of five fields"
    return None
