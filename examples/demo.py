"""Open an experiment that lies in a bucket, look at one gland in every round, and count what moved.

    python examples/demo.py        (or: make demo)

Makes a SpaceTx experiment with slicedimage (make_experiment.py), puts it into an S3 server on this machine (moto), and
opens it there with slicedfs. Leaves ``output/demo.png`` and ``output/demo.txt`` beside this file. The exit code is 1 if
a pixel differs from what slicedimage reads, or if the server was asked for anything else than ``explain`` foretold.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any, NamedTuple, Self

import numpy as np
import xarray as xr
from make_experiment import make_experiment
from numpy.typing import NDArray

import slicedfs

OUTPUT = Path(__file__).parent / "output"
FIELD = "fov_003"
CHANNEL, PLANE = 2, 1
X_UM, Y_UM = (130.0, 195.0), (155.0, 250.0)
"""Where the gland lies on the slide, in micrometres."""


class Request(NamedTuple):
    """One request that the server got."""

    method: str
    key: str
    """The last part of its path."""
    sent: int
    """Bytes of the body that was answered."""


class LocalS3:
    """Amazon S3 on this machine, by moto, in a thread; it writes down what it is asked for."""

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
        from werkzeug.serving import make_server

        # A proxy that this machine may use knows nothing of servers on it.
        os.environ |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs every request
        self.requests: list[Request] = []
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=MotoRequestHandler)
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def options(self) -> dict[str, Any]:
        """What s3fs needs to read and write here."""
        endpoint = f"http://127.0.0.1:{self._server.server_port}"
        return {"key": "demo", "secret": "demo", "endpoint_url": endpoint}

    def put(self, directory: Path, bucket: str) -> str:
        """Upload all files of `directory`, as any S3 tool would; return the URL of the bucket."""
        import fsspec

        fsspec.filesystem("s3", **self.options).put(f"{directory}/", f"{bucket}/", recursive=True)
        self.requests.clear()
        return f"s3://{bucket}"

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def recording(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            method, key = environ["REQUEST_METHOD"], environ["PATH_INFO"].rpartition("/")[2]
            sizes = [int(value) for name, value in headers if name.lower() == "content-length" and method != "HEAD"]
            self.requests.append(Request(method, key, sum(sizes)))
            return start_response(status, headers, *more)

        answer: Iterable[bytes] = self._moto(environ, recording)
        return answer

    def told(self) -> str:
        """Say how much it was asked for."""
        return f"{len(self.requests)} requests, {sum(request.sent for request in self.requests):,} bytes"

    def close(self) -> None:
        """Stop; all objects are gone."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class Report:
    """Prints as it goes, keeps the lines for a file, and counts what is not as it should be."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.failures = 0

    def say(self, text: object) -> None:
        """Print a line."""
        print(text, flush=True)
        self.lines.append(str(text))

    def check(self, what: str, *, holds: bool) -> None:
        """Print how a comparison ended."""
        self.failures += not holds
        self.say(f"{'equal:    ' if holds else 'NOT EQUAL:'} {what}")


def main() -> int:
    """Run all of it; return the exit code."""
    report = Report()
    OUTPUT.mkdir(exist_ok=True)
    with TemporaryDirectory() as directory, LocalS3() as s3:
        files = make_experiment(Path(directory)).parent
        url = f"{s3.put(files, 'microscope')}/experiment.json"
        tree: Any = xr.open_datatree(url, engine="slicedfs", storage_options=s3.options)
        report.say(f"Opened {url} with {s3.told()}:")
        report.say(tree)
        s3.requests.clear()
        crop = tree[f"primary/{FIELD}"]["image"].sel(c=CHANNEL, z=PLANE, xc=slice(*X_UM), yc=slice(*Y_UM))
        pixels = read(crop, s3, report, total=sum(path.stat().st_size for path in files.glob("*.tiff")))
        report.check("the pixels of slicedfs and of slicedimage", holds=np.array_equal(pixels.values, oracle(files)))
        picture = plot(tree[f"nuclei/{FIELD}"]["image"], pixels)
    picture.savefig(OUTPUT / "demo.png", dpi=150)
    (OUTPUT / "demo.txt").write_text("\n".join(report.lines) + "\n", encoding="utf-8")
    print(f"\nThe picture is {OUTPUT / 'demo.png'}\nThis text is {OUTPUT / 'demo.txt'}")
    return 1 if report.failures else 0


def read(crop: xr.DataArray, s3: LocalS3, report: Report, *, total: int) -> xr.DataArray:
    """Load `crop` one round at a time, and compare what the server saw with what was foretold."""
    from tqdm import tqdm

    plan = slicedfs.explain(crop)
    report.say(f"\nSelected:\n{crop}\n\nForetold by slicedfs.explain():\n{plan}\n")
    report.check("requests that selecting caused, and 0", holds=not s3.requests)
    pixels = xr.concat([crop.sel(r=r).load() for r in tqdm(crop.r.values, unit="round")], dim="r")
    foretold = sorted(("GET", row.url.rpartition("/")[2]) for row in plan.rows())
    seen = sorted((request.method, request.key) for request in s3.requests)
    report.check("requests foretold, and seen by the server", holds=foretold == seen)
    share = 100 * sum(request.sent for request in s3.requests) / total
    report.say(f"Seen by the server: {s3.told()}: {share:.1f} % of the {total:,} bytes of all tiles")
    return pixels


def oracle(directory: Path) -> NDArray[Any]:
    """Give the crop as slicedimage reads it: whole tiles from disk, cut by the ranges that they state; (r, y, x)."""
    import slicedimage  # type: ignore[import-untyped]

    collection = slicedimage.Reader.parse_doc("primary.json", directory.as_uri())
    wanted = {"c": CHANNEL, "z": PLANE}
    tiles = collection.find_tileset(FIELD).tiles(lambda tile: wanted.items() <= tile.indices.items())
    return np.stack([_cut(tile) for tile in sorted(tiles, key=lambda tile: tile.indices["r"])])


def _cut(tile: Any) -> NDArray[Any]:
    pixels: NDArray[Any] = tile.numpy_array
    for axis, (name, (low, high)) in enumerate({"yc": Y_UM, "xc": X_UM}.items()):
        start, stop = tile.coordinates[name]
        middles = start + (np.arange(pixels.shape[axis]) + 0.5) * (stop - start) / tile.numpy_array.shape[axis]
        pixels = np.compress((low <= middles) & (middles <= high), pixels, axis=axis)
    return pixels


def plot(nuclei: xr.DataArray, pixels: xr.DataArray) -> Any:
    """Draw the field of view, the crop marked, and beside it the crop in every round; axes in micrometres."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    figure = Figure(figsize=(13, 4.3), layout="constrained")
    axes = figure.subplots(1, 1 + pixels.sizes["r"], width_ratios=[1.5] + [1] * pixels.sizes["r"])
    nuclei.squeeze().plot.imshow(ax=axes[0], x="xc", y="yc", cmap="gray_r", add_colorbar=False)
    corner = (X_UM[0], Y_UM[0])
    axes[0].add_patch(Rectangle(corner, X_UM[1] - X_UM[0], Y_UM[1] - Y_UM[0], fill=False, edgecolor="C1", lw=2))
    scale: dict[str, Any] = {"vmin": 0, "vmax": int(pixels.max()), "cmap": "viridis", "add_colorbar": False}
    for axis, r in zip(axes[1:], pixels.r.values, strict=True):
        image = pixels.sel(r=r).plot.imshow(ax=axis, x="xc", y="yc", **scale)
    titles = [f"nuclei/{FIELD}", *(f"primary/{FIELD}, r={r}" for r in pixels.r.values)]
    for axis, title in zip(axes, titles, strict=True):
        axis.set(title=title, xlabel="x (µm)", ylabel="y (µm)" if axis in axes[:2] else "", aspect="equal")
        axis.invert_yaxis()
    figure.colorbar(image, ax=axes[1:], label="absorbance (uint16)", shrink=0.8)
    figure.suptitle(f"A gland of a colon, channel {CHANNEL}, plane {PLANE}, bleaching from round to round")
    return figure


if __name__ == "__main__":
    sys.exit(main())
