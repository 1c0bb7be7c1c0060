"""2,000 mutated files through the decoders: only `DataError` escapes, quickly, in bounded
memory."""

import subprocess
import sys

import pytest

# In a process of its own, so that limits hold for it alone.
FUZZ = """
import io, resource, sys, time, warnings
import numpy as np
from PIL import Image
from jaxbrain.data import decode, medical
from jaxbrain.errors import DataError

count = int(sys.argv[1])
rng = np.random.default_rng(20261126)
picture = Image.fromarray(rng.integers(0, 255, (48, 40, 3), np.uint8))
grey = Image.fromarray(rng.integers(0, 60000, (48, 40), np.uint16))

def saved(image, kind, **options):
    memory = io.BytesIO()
    image.save(memory, kind, **options)
    return memory.getvalue()

seeds = [
    saved(picture, "JPEG"),
    saved(picture, "JPEG", progressive=True),
    saved(picture, "PNG"),
    saved(picture.convert("P"), "PNG"),
    saved(grey, "PNG"),
    saved(picture, "BMP"),
    saved(picture, "TIFF", compression="tiff_lzw"),
    saved(grey, "TIFF"),
    saved(picture.convert("P"), "GIF", save_all=True, append_images=[picture.convert("P")] * 2),
]
try:
    import gzip, h5py, nibabel
    sys.path.insert(0, sys.argv[2])
    import test_data_medical as made
    volume = made.volume()
    seeds += [
        made.dicom(made.RAMP, WindowCenter=700, WindowWidth=900, RescaleSlope=2),
        made.dicom(np.stack([made.RAMP] * 2)),
        made.nifti(volume),
        gzip.compress(made.nifti(volume), 1),
    ]
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        group = file.create_group("cjdata")
        group["label"], group["PID"] = np.array([[1.0]]), np.array([[65]], np.uint16)
        group["image"] = rng.integers(0, 3000, (40, 48)).astype(np.int16)
    seeds.append(memory.getvalue())
except ModuleNotFoundError:
    pass

def mutated(content):
    data = bytearray(content)
    kind = rng.integers(4)
    if kind == 0:
        data = data[: rng.integers(len(data))]
    elif kind == 1:
        for _ in range(rng.integers(1, 9)):
            # Headers are where decoders trust.
            place = rng.integers(min(len(data), 600) if rng.integers(2) else len(data))
            data[place] = rng.integers(256)
    elif kind == 2:
        other = seeds[rng.integers(len(seeds))]
        start, stop = sorted(rng.integers(0, len(data), 2))
        data[start:stop] = other[start:stop]
    else:
        place = rng.integers(len(data))
        data[place:place] = rng.integers(0, 256, rng.integers(1, 64), np.uint8).tobytes()
    return bytes(data)

def read(content, frames):
    if medical.kind(content):
        return medical.read(content, frames, 0.1)
    return decode.pictures(content, frames)

for one in seeds:
    read(one, "all")
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
resource.setrlimit(resource.RLIMIT_CPU, (120, 120))
good = bad = 0
slowest = 0.0
for i in range(count):
    content = mutated(seeds[i % len(seeds)])
    start = time.process_time()
    try:
        found = read(content, ("error", "first", "all")[i % 3])
        for image in found.image:
            assert image.dtype == np.float32 and image.ndim == 2
            assert np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1
        good += 1
    except DataError as error:
        assert str(error), "a refusal without a reason"
        bad += 1
    slowest = max(slowest, time.process_time() - start)
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024
print(good, bad, round(slowest, 3), round(grown, 1), len(seeds))
"""


@pytest.mark.timeout(240)
def test_only_data_errors_escape():
    from pathlib import Path

    command = [sys.executable, "-c", FUZZ, "2000", str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    good, bad, slowest, grown, seeds = map(float, done.stdout.split())
    assert good + bad == 2000
    # Mutations that did nothing, or nothing else, would test nothing.
    assert good > 200 and bad > 500 and seeds >= 9
    assert slowest < 1.0
    assert grown < 300
