"""Measured service times of every process, with what they were measured on."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextvec.errors import InvalidInput

Array = NDArray[np.float64]

PROCESSES = ("gateway", "encoder", "lvm", "snap", "decoder")

MEASURED = Path(__file__).parent / "service_times.json"
"""Those of the `mini` family on the machine that the file names."""

SHARES = tuple(share / 100 for share in range(101))
"""Where quantiles are kept: enough for a p95, and for the spread behind it."""


@dataclass(frozen=True)
class ServiceTimes:
    """Seconds that one replica is busy with one request, as quantiles [101] at SHARES.

    `hit` are those of requests that were answered before, `miss` of new ones, by process. `about` says how
    and on what they were measured.
    """

    hit: Mapping[str, Array]
    miss: Mapping[str, Array]
    about: Mapping[str, str]

    @classmethod
    def of(
        cls,
        hit: Mapping[str, Sequence[float]],
        miss: Mapping[str, Sequence[float]],
        about: Mapping[str, str],
    ) -> "ServiceTimes":
        """Those of seconds that were measured one by one."""

        def quantiles(times: Mapping[str, Sequence[float]]) -> dict[str, Array]:
            return {name: np.quantile(np.asarray(values), SHARES) for name, values in times.items()}

        return cls(quantiles(hit), quantiles(miss), about)

    @classmethod
    def read(cls, file: Path = MEASURED) -> "ServiceTimes":
        """Raises InvalidInput, naming what is wrong, for a file that `write` did not make."""
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            hit, miss = _seconds(record, "hit_ms"), _seconds(record, "miss_ms")
            return cls(hit, miss, {str(k): str(v) for k, v in record["about"].items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInput(
                f"{file} has no service times ({error}); `nextvec capacity --measure {file}` writes them"
            ) from error

    def write(self, file: Path) -> None:
        """In milliseconds, to three digits after the point."""
        record = {"about": dict(self.about), "hit_ms": _ms(self.hit), "miss_ms": _ms(self.miss)}
        file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    def drawn(self, process: str, hits: NDArray[np.bool_], random: np.random.Generator) -> Array:
        """Service times [N] of N requests, of which `hits` says which were answered before."""
        shares = random.random(len(hits))
        return np.where(
            hits,
            np.interp(shares, SHARES, self.hit[process]),
            np.interp(shares, SHARES, self.miss[process]),
        )

    def moments(self, process: str, hit_rate: float) -> tuple[float, float]:
        """Mean in seconds, and squared coefficient of variation, at a share of hits."""
        points = np.linspace(0.0005, 0.9995, 1000)
        hit = np.interp(points, SHARES, self.hit[process])
        miss = np.interp(points, SHARES, self.miss[process])
        mean = hit_rate * hit.mean() + (1 - hit_rate) * miss.mean()
        square = hit_rate * (hit**2).mean() + (1 - hit_rate) * (miss**2).mean()
        return float(mean), float(square / mean**2 - 1)


def _ms(times: Mapping[str, Array]) -> dict[str, list[float]]:
    return {name: [round(1000 * float(value), 3) for value in values] for name, values in times.items()}


def _seconds(record: Mapping[str, Any], part: str) -> dict[str, Array]:
    found = {}
    for process in PROCESSES:
        values = np.asarray(record[part][process], dtype=np.float64) / 1000
        if values.shape != (len(SHARES),) or not (np.diff(values) >= 0).all() or not values[0] >= 0:
            raise ValueError(f"{part}.{process} must be {len(SHARES)} rising milliseconds, none below 0")
        found[process] = values
    return found
