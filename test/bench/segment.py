# segment.py: k-means of kpxrec's core beside scikit-learn's KMeans, one thread, the same rows,
# the same first centres, the same number of iterations.
# Arguments: the program made from segment.c, and a folder for the rows. RUNS from the environment.
import os
import subprocess
import sys
import time
import warnings

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"
import numpy as np
import sklearn
from sklearn.cluster import KMeans, kmeans_plusplus

warnings.filterwarnings("ignore")
PROGRAM, FOLDER = sys.argv[1:3]
RUNS = int(os.environ.get("RUNS", "3"))
N, FEATURES = 500000, 32


def rows(kind, rng):
    if kind == "blobs":  # 20 groups, well apart
        centre = rng.normal(0, 3, (20, FEATURES))
        return centre[rng.integers(0, 20, N)] + rng.normal(0, 1, (N, FEATURES))
    if kind == "overlapping":  # 20 groups of different size that run into each other
        centre = rng.normal(0, 0.7, (20, FEATURES))
        return centre[rng.zipf(1.5, N) % 20] + rng.normal(0, 1, (N, FEATURES))
    return rng.normal(0, 1, (N, FEATURES))  # none at all


def median(values):
    return sorted(values)[len(values) // 2]


def ours(k, iterations):
    out = subprocess.run([PROGRAM, FOLDER + "/rows", str(N), str(FEATURES), FOLDER + "/centres", str(k), str(iterations)],
                         capture_output=True, check=True, text=True).stdout.split()
    return float(out[0]), int(out[1]), float(out[2])


def theirs(x, centres, algorithm, iterations):
    means = KMeans(len(centres), init=centres, n_init=1, max_iter=iterations, tol=0, algorithm=algorithm)
    begin = time.process_time()
    means.fit(x)
    return time.process_time() - begin, means.n_iter_, means.inertia_


print("scikit-learn %s, %d x %d floats, CPU seconds, medians of %d" % (sklearn.__version__, N, FEATURES, RUNS))
print("| data | k | iterations | kpxrec | sklearn lloyd | sklearn elkan | kpxrec's inertia over lloyd's |")
print("|---|---:|---:|---:|---:|---:|---:|")
for kind in ("blobs", "overlapping", "noise"):
    x = np.ascontiguousarray(rows(kind, np.random.default_rng(1)), dtype=np.float32)
    x -= x.mean(axis=0)
    x.tofile(FOLDER + "/rows")
    for k in (8, 20, 64):
        centres = kmeans_plusplus(x[:20000], k, random_state=1)[0]
        centres.tofile(FOLDER + "/centres")
        results = {"lloyd": [], "elkan": [], "ours": []}
        for run in range(RUNS):
            results["ours"].append(ours(k, 50))
            for algorithm in ("lloyd", "elkan"):
                results[algorithm].append(theirs(x, centres, algorithm, 50))
        seconds = {name: median([r[0] for r in result]) for name, result in results.items()}
        print("| %s | %d | %d / %d / %d | %.2f s | %.2f s, %.1f x | %.2f s, %.1f x | %.5f |" % (
            kind, k, results["ours"][0][1], results["lloyd"][0][1], results["elkan"][0][1], seconds["ours"],
            seconds["lloyd"], seconds["lloyd"] / seconds["ours"], seconds["elkan"], seconds["elkan"] / seconds["ours"],
            results["ours"][0][2] / results["lloyd"][0][2]), flush=True)
