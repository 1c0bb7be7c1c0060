"""Writes generative.npz: what torch-fidelity and prdc give for two sets of features.

    python tests/golden/make_generative.py

(with torch-fidelity 0.4.0, torch 2.13.0, prdc 0.2, scikit-learn 1.9.1 and numpy installed)

The file holds `kid` (one subset of all images, so that nothing is drawn), `fid` and
`prdc` [4]: precision, recall, density and coverage; tests/test_audit_generative.py compares.
"""

import sys
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from prdc import compute_prdc

# torch-fidelity imports torchvision for images, of which there are none here.
for name in ("", ".datasets", ".transforms", ".transforms.functional"):
    sys.modules[f"torchvision{name}"] = mock.MagicMock()
from torch_fidelity import metric_fid, metric_kid  # noqa: E402

COUNT, NUM_FEATURES, K = 60, 12, 5


def features() -> tuple[np.ndarray, np.ndarray]:
    """Two sets [60, 12] float32, the second shifted and wider; the test draws the same."""
    rng = np.random.default_rng(19)
    one, two = rng.normal(size=(2, COUNT, NUM_FEATURES))
    return one.astype(np.float32), (0.3 + 1.2 * two).astype(np.float32)


def main() -> None:
    real, fake = features()
    # In float64, so that what differs is ours.
    one, two = (torch.tensor(x, dtype=torch.float64) for x in (fake, real))
    kid = metric_kid.kid_features_to_metric(
        one, two, kid_subsets=1, kid_subset_size=COUNT, rng_seed=0, verbose=False
    )
    statistics = [metric_fid.fid_features_to_statistics(x) for x in (one, two)]
    fid = metric_fid.fid_statistics_to_metric(*statistics, verbose=False)
    found = compute_prdc(np.float64(real), np.float64(fake), nearest_k=K)
    np.savez_compressed(
        Path(__file__).with_name("generative.npz"),
        kid=kid[metric_kid.KEY_METRIC_KID_MEAN],
        fid=fid[metric_fid.KEY_METRIC_FID],
        prdc=[found[name] for name in ("precision", "recall", "density", "coverage")],
    )


if __name__ == "__main__":
    main()
