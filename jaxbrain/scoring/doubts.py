"""Images whose labels every method speaks against: the place to look for wrong labels."""

import numpy as np

from jaxbrain.scoring.scores import Answers, Key

# Of all images so many are named at least, or this share of them.
_LEAST, _SHARE = 20, 0.1


def _weight(hits: list[bool]) -> float:
    """Of a classifier's word: the logarithm of its odds to be right, at least 0.01. So weigh
    voters who err apart from one another."""
    share = (sum(hits) + 0.5) / (len(hits) + 1.0)
    return max(float(np.log(share / (1.0 - share))), 0.01)


def _blind(one: Answers) -> bool:
    """Whether all images of each test set get one answer."""
    tests = np.unique(np.stack([one.seed, one.fold]), axis=1).T
    parts = (one.p[(one.seed == seed) & (one.fold == fold)] for seed, fold in tests)
    return all(np.ptp(p, axis=0).max() == 0 for p in parts)


def doubts(answers: dict[Key, Answers], seeing: list[str]) -> dict | None:
    """Real images by how little the methods believe their labels.

    Counted are the answers of the classifiers in `seeing` under the last protocol that there
    is, with true labels and with every generator: there each image is judged by methods that
    saw neither it nor a copy of it (under P3), so that none can have learnt its label.

    Args:
        answers: as `scores.read` gives them.
        seeing: names of the classifiers that look at pixels; those that answer one and the
            same for all images are left out.

    Returns:
        protocol, classifiers; and `images`, a list of {id, label (number of the class), belief,
        answers, wrong}, least believed first, of all that are believed by less than half:
        the first tenth of the images or 20. Belief is the mean probability of the label,
        over answers of a classifier and then over classifiers, who weigh as much as they are
        right (`_weight`). None without such answers.

    Example:
        >>> p = np.array([[0.9, 0.1], [0.8, 0.2]])
        >>> zeros, names = np.zeros(2, int), np.array(["a", "b"])
        >>> one = Answers(zeros, zeros, zeros, names, zeros, np.array([1, 0]), p)
        >>> key = "P3", "none", "ridge", "true"
        >>> [(x["id"], x["belief"]) for x in doubts({key: one}, ["ridge"])["images"]]
        [('a', 0.1)]
    """
    own = [
        key
        for key, one in answers.items()
        # Those of another source (P4) are not the data's.
        if key[0] <= "P3" and key[2] in seeing and key[3] == "true" and not _blind(one)
    ]
    if not own:
        return None
    last = max(protocol for protocol, *_ in own)
    own = [key for key in own if key[0] == last]
    beliefs: dict = {}
    right: dict = {}
    label: dict = {}
    for key in own:
        one = answers[key]
        real = one.group >= 0
        rows = zip(one.name[real], one.label[real], one.p[real], one.hit[real], strict=True)
        for name, k, p, hit in rows:
            at = key[2], str(name)
            label[at[1]] = int(k)
            beliefs.setdefault(at, []).append(float(p[k]))
            right.setdefault(at, []).append(bool(hit))
    weight = {
        name: _weight([hit for (by, _), hits in right.items() if by == name for hit in hits])
        for name in {key[2] for key in own}
    }
    by_image: dict[str, list] = {}
    for (by, name), values in beliefs.items():
        by_image.setdefault(name, []).append((weight[by], np.mean(values), right[by, name]))
    belief = {
        name: float(np.average([p for _, p, _ in some], weights=[w for w, _, _ in some]))
        for name, some in by_image.items()
    }
    hits = {name: [hit for *_, own in some for hit in own] for name, some in by_image.items()}
    order = sorted((name for name in belief if belief[name] < 0.5), key=lambda n: (belief[n], n))
    most = max(_LEAST, int(np.ceil(_SHARE * len(belief))))
    return {
        "protocol": last,
        "classifiers": sorted(weight),
        "images": [
            {
                "id": name,
                "label": label[name],
                "belief": round(belief[name], 4),
                "answers": len(hits[name]),
                "wrong": hits[name].count(False),
            }
            for name in order[:most]
        ],
    }
