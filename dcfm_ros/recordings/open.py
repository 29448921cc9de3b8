"""One way in for everything that holds frames."""

from __future__ import annotations

from pathlib import Path

from dcfm_ros.imaging.files import IMAGE_SUFFIXES, files_in, images_in
from dcfm_ros.recordings.recording import Damaged, Recording, RecordingError
from dcfm_ros.recordings.storage.kinds import BAG_SUFFIXES, ROS1, are_parts, bag_files_in, kind_of_file

# A list and no trial: FFmpeg opens even a text file, and shows its letters.
VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".m2ts"),
    *(".wmv", ".flv", ".ogv", ".3gp", ".mjpeg", ".mjpg", ".h264", ".h265", ".264", ".265", ".hevc"),
)


def open_recording(
    path: str | Path, topic: str | None = None, rate_hz: float | None = None, damaged: Damaged = "raise"
) -> Recording:
    """Opens what lies at `path`: a bag, a video or a folder of images.

    path: a rosbag2 folder, a single .db3 or .mcap file, a ROS 1 .bag file or a folder of those it was split into, a
        video file, a folder of images, or a folder that has these in `images/`. A bag is known by its content.
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


def files_of(path: Path) -> list[Path]:
    """The files that a recording at `path` can be read from, in a fixed order: itself, or those of its folder.

    What lies in other folders in it, as a run's results may, is no part of the recording.
    """
    return [*files_in(path), *files_in(path / "images")] if path.is_dir() else [path]


def is_bag(path: Path, damaged: Damaged = "raise") -> bool:
    """Whether what is there is to be read as a bag. damaged: "skip" takes a folder without metadata.yaml for one."""
    if not path.is_dir():
        return kind_of_file(path) is not None
    if (path / "metadata.yaml").exists():
        return True
    files = bag_files_in(path)
    return bool(files) and are_parts(files) and (damaged == "skip" or all(kind_of_file(f) == ROS1 for f in files))


def _open_folder(folder: Path, rate_hz: float | None, damaged: Damaged) -> Recording:
    images = images_in(folder) or images_in(folder / "images")
    if not images:
        loose = [file.name for file in bag_files_in(folder)]
        if len(loose) > 1:
            raise RecordingError(
                f"{folder} holds {len(loose)} bag files that are not one recording ({', '.join(loose[:3])}"
                f"{', ...' if len(loose) > 3 else ''}); name one of them, or give --jobs for each of them"
            )
        if loose:
            raise RecordingError(
                f"{folder} has {loose[0]} but no metadata.yaml; name the file itself or run `ros2 bag reindex`"
            )
        raise RecordingError(_nothing_in(folder))
    from dcfm_ros.recordings.folders import FolderRecording

    return FolderRecording(folder.resolve().name, images, rate_hz, damaged)


def _nothing_in(folder: Path) -> str:
    """Say what is wrong with a folder that is no recording."""
    from dcfm_ros.recordings.find import find_recordings  # which needs this module

    try:
        below = find_recordings(folder)
    except RecordingError:
        return f"{folder} has nothing to read; expected a bag or images ({' '.join(IMAGE_SUFFIXES)})"
    more = ", ..." if len(below) > 1 else ""
    return (
        f"{folder} is no recording, but {len(below)} lie below it ({below[0].relative_to(folder)}{more}); name one of "
        "them (`dcfm segment` and `dcfm report` take all of them with --jobs 1)"
    )
