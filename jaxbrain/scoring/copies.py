"""What synthetic images copy, over the fits of a generator: from what a study counted."""

from jaxbrain.scoring import intervals

# Copies of images that a fit was not given do happen, where images are alike. Where the share
# is above this one, its interval left out, they are taken for what they look like.
BY_CHANCE = 0.01
_PROTOCOL = {"all": "P0, P1", "train": "P2", "grouped": "P3", "whole": "P4"}


def rows(copied: dict) -> list[dict]:
    """A row for each fit. copied: [4] of `study.copies.counted` by the fit's name
    ("cgan/train/true/0/2"), or why it has no images."""
    names = "synthetic", "of_training", "of_others", "others"
    found = []
    for fit, counts in copied.items():
        if not isinstance(counts, str):
            found.append({"fit": fit} | dict(zip(names, map(int, counts), strict=True)))
    return found


def pooled(each: list[dict]) -> list[dict]:
    """Sums of `rows` over seeds and folds, by generator, scope and labels.

    Of the fits with images that they were not given: `of_others` of `judged` images copy one
    of these and none of the training's; `interval` of that share (Wilson); `beyond`: whether it
    says that the generator was fitted on more than its training images; `worst`: the row of the
    fit with the largest share.

    Example:
        >>> one = {"fit": "a/train/true/0/2", "synthetic": 100, "of_training": 5}
        >>> (found,) = pooled([one | {"of_others": 73, "others": 40}])
        >>> found["protocol"], found["beyond"], round(found["interval"][0], 3)
        ('P2', True, 0.636)
    """
    alike: dict[tuple, list[dict]] = {}
    for row in each:
        alike.setdefault(tuple(row["fit"].split("/")[:3]), []).append(row)
    found = []
    for (generator, scope, labels), own in alike.items():
        judged = [row for row in own if row["others"] and row["synthetic"]]
        total, count = (sum(row[n] for row in judged) for n in ("synthetic", "of_others"))
        interval = intervals.wilson(count, total) if total else None
        found.append(
            {
                "generator": generator,
                "protocol": _PROTOCOL[scope],
                "labels": labels,
                "fits": len(own),
                **{n: sum(row[n] for row in own) for n in ("synthetic", "of_training")},
                "judged": total,
                "of_others": count,
                "interval": list(interval) if interval else None,
                "beyond": bool(interval and interval[0] > BY_CHANCE),
                "worst": max(judged, key=lambda r: r["of_others"] / r["synthetic"], default=None),
            }
        )
    return found
