"""The weights that ship with the package; their licence is LICENSE.weights.md in this folder."""

from pathlib import Path

_FOLDER = Path(__file__).parent
DEFAULT_WEIGHTS = _FOLDER / "camvid_lite0.safetensors"


def shipped_weights() -> tuple[str, ...]:
    """The configurations whose weights are here."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.safetensors")))


# As the licence says; for whoever shows it.
LICENCE = _FOLDER / "LICENSE.weights.md"
SHIPPED_MAY_BE_USED = "may be used for non-commercial purposes only"
