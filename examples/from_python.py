"""mimdet from Python, cell by cell: open as a notebook in VS Code, PyCharm, Spyder or Jupytext.

From a terminal, `python from_python.py` runs all of it in a minute or two, in the current folder.
"""

# %% Data: a generated set in COCO layout. Your own folder works the same.
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

import mimdet_cli as mimdet

data = Path("shapes")
subprocess.run(["mimdet", "data", "demo", str(data), "--train", "200", "--val", "40"], check=True)

# %% Train. A recipe is a name, a file or a dictionary; single values change by their dotted keys.
report = mimdet.train(
    {"extends": "demo", "train": {"steps": 60, "evals": 1}, "data": {"workers": 0}},
    data=data,
    out="runs/from-python",
    overrides={"train.batch": 4},
    progress=mimdet.Console(),
)
print(f"{report.steps} steps in {report.train_s:.0f} s, in {report.run}")

# %% Evaluate, as `mimdet eval` does: here with half of the tokens.
scored = mimdet.evaluate(report.run, ratio=0.5)
print("\n".join(scored.lines()))

# %% Load the run, and predict on a file. In a notebook the last line of a cell shows itself.
detector = mimdet.load(report.run)
files = sorted((data / "val").iterdir())
prediction = detector.predict(files[0], score=0.1)
prediction

# %% What was found, as arrays.
for name, score, box in zip(
    prediction.class_names, prediction.scores, prediction.boxes, strict=True
):
    print(f"{name:10s} {score:.2f}  {box.round()}")
if prediction.masks is not None:
    print("pixels covered:", prediction.masks.sum(axis=(1, 2)).tolist())

# %% PIL images, arrays and lists; drawings and COCO results.
photo = Image.open(files[1])
mirrored = np.asarray(photo)[:, ::-1]
for image_id, found in enumerate(detector.predict([photo, mirrored], score=0.1), 1):
    found.draw().save(f"drawn-{image_id}.png")
    print(found, len(found.to_coco(image_id)), "COCO entries")

# %% The bare module, for a training loop of your own.
model = mimdet.build_model("demo", classes=["circle", "rectangle", "triangle"])
print(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters")
