"""The rendered drive: a street with traffic, seen from a car, with exact labels."""

from dcfm_ros.datasets.street.drive import StreetConfig, StreetDrive
from dcfm_ros.datasets.street.world import StreetClass

__all__ = ["StreetClass", "StreetConfig", "StreetDrive"]
