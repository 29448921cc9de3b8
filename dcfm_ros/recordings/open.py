"""One way in for everything that holds frames."""

from __future__ import annotations

from pathlib import Path

from dcfm_ros.imaging.files import IMAGE_SUFFIXES, images_in
from dcfm_ros.recordings.recording import Damaged, Recording, RecordingError
from dcfm_ros.recordings.storage import BAG_SUFFIXES, bag_files, is_of_ros1, storage_kind

# A list and no trial: FFmpeg opens even a text file, and shows its letters.
VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".m2ts"),
    *(".wmv", ".flv", ".ogv", ".3gp", ".mjpeg", ".mjpg", ".h264", ".h265", ".264", ".265", ".hevc"),
)


def open_recording(
    path: str | Path, topic: str | None = None, rate_hz: float | None = None, damaged: Damaged = "raise"
) -> Recording:
    """Opens what lies at `path`: a bag, a video or a folder of images.

    path: a rosbag2 folder, a folder of ROS 1 bags, a single file of either, a video file, a folder of images, or a
        folder that has these in `images/`. What a bag is made of is told by its content, not by names.
    topic: the image topic of a bag; may be left out where there is only one.
    rate_hz: frames per second of a folder (default 10), or of a video in place of its own. Bags carry stamps.
    damaged: "skip" reads all that can be read of what is damaged, and notes what is lost in `Recording.losses`; a bag's
        folder then needs no metadata.yaml. "raise" takes damage for an error.

    Raises RecordingError when there is nothing, when it cannot be read, or when topic or rate_hz do not fit it.
    """
    path = Path(path)
    if not path.exists():
        raise RecordingError(f"{path} does not exist")
    if is_bag(path, damaged):
        if rate_hz is not None:
            raise RecordingError(f"{path} is a bag and has stamps; rate_hz={rate_hz} is for folders and videos")
        from dcfm_ros.recordings.bags import BagRecording

        return BagRecording(path, topic, damaged)
    if topic is not None:
        raise RecordingError(f"{path} is not a bag and has no topics; expected none, not {topic!r}")
    if path.is_dir():
        return _open_folder(path, rate_hz, damaged)
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        raise RecordingError(f"{path} is not a recording; expected {_EXPECTED}")
    from dcfm_ros.recordings.videos import VideoRecording

    return VideoRecording(path, rate_hz, damaged)


_EXPECTED = f"a bag ({' '.join(BAG_SUFFIXES)}, or a folder), a video or a folder of images ({' '.join(IMAGE_SUFFIXES)})"


def is_bag(path: Path, damaged: Damaged = "raise") -> bool:
    """Whether what is there is to be read as a bag. damaged: "skip" takes a folder without metadata.yaml for one."""
    if not path.is_dir():
        return bool(storage_kind(path))
    if (path / "metadata.yaml").exists() or is_of_ros1(path):
        return True
    return damaged == "skip" and not images_in(path) and bool(bag_files(path))


def _open_folder(folder: Path, rate_hz: float | None, damaged: Damaged) -> Recording:
    images = images_in(folder) or images_in(folder / "images")
    if not images:
        if loose := bag_files(folder):
            raise RecordingError(
                f"{folder} has {loose[0].name} but no metadata.yaml; name the file itself or run `ros2 bag reindex`"
            )
        raise RecordingError(f"{folder} has nothing to read; expected a bag or images ({' '.join(IMAGE_SUFFIXES)})")
    from dcfm_ros.recordings.folders import FolderRecording

    return FolderRecording(folder.resolve().name, images, rate_hz, damaged)
