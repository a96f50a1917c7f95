"""BOLD files: real ones, the round trip, repetition times, and damage of every kind."""

import gzip
import json
import math
import tracemalloc

import nibabel
import numpy as np
import pytest

from eeg2fmri.errors import EEG2fMRIError, FileError, InputError, RecordingError
from eeg2fmri.recordings.bold import BOLDRun, bold_image, read_bold, write_bold

AFFINE = np.array([[-3.3, 0, 0, 100.0], [0, 3.2, -0.5, -90.0], [0, 0.4, 4, -60.0], [0, 0, 0, 1]])
SHEARED = np.array([[3.0, 1.0, 0, 0], [0, 3.0, 0, 0], [0, 0, 4.0, 0], [0, 0, 0, 1]])


@pytest.fixture
def volumes() -> np.ndarray:
    return np.random.default_rng(0).normal(1000, 50, (6, 5, 4, 7)).astype(np.float32)


@pytest.fixture
def image_bytes(volumes) -> bytes:
    """An int16 image as scanners' converters write it: scaled, with orientation and repetition time."""
    image = nibabel.Nifti1Image(volumes.astype(np.int16), AFFINE)
    image.set_qform(AFFINE, 1)
    image.set_sform(AFFINE, 1)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = 2.16
    return image.to_bytes()


def changed(image_bytes: bytes, **fields) -> bytes:
    header = nibabel.Nifti1Header(image_bytes[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    return header.binaryblock + image_bytes[348:]


def pixdim(repetition_time: float) -> list[float]:
    return [-1, 3.3, 3.2, 4, repetition_time, 0, 0, 0]


@pytest.mark.parametrize(
    ("name", "shape", "repetition_time"),
    [
        ("DCM2NIIX_regression_test_4.nii", (64, 64, 15, 10), 5.0),
        ("tedana_echo1.nii.gz", (39, 50, 33, 5), 2.0),
        ("haxby_s1_run001_25mm.nii.gz", (6, 10, 10, 121), 2.5),
    ],
)
def test_real_files_are_what_nibabel_reads(shared_data, name, shape, repetition_time):
    run = read_bold(shared_data / "bold" / name)
    expected = nibabel.load(shared_data / "bold" / name)
    assert run.volumes.shape == shape
    assert run.volumes.dtype == np.float32
    assert run.repetition_time == repetition_time
    np.testing.assert_array_equal(run.affine, expected.affine)
    np.testing.assert_array_equal(run.volumes, expected.get_fdata(dtype=np.float32))


def test_implausible_repetition_times_of_real_files_are_refused_unless_stated(shared_data):
    with pytest.raises(RecordingError, match="2000 s in the header"):
        read_bold(shared_data / "bold" / "example4d.nii.gz")
    assert read_bold(shared_data / "bold" / "example4d.nii.gz", repetition_time=2.0).repetition_time == 2.0
    path = shared_data / "bold" / "rsHRF_demo.nii"
    with pytest.raises(RecordingError, match="repetition time of 0 s"):
        read_bold(path)
    run = read_bold(path, repetition_time=2.0)
    np.testing.assert_allclose(run.volumes, nibabel.load(path).get_fdata(), rtol=1e-6)


@pytest.mark.parametrize("name", ["run.nii", "run.nii.gz"])
@pytest.mark.parametrize("space", ["native", "mni"])
def test_write_then_read_is_the_identity(tmp_path, volumes, name, space):
    write_bold(bold_image(volumes, AFFINE, 2.16, 21.6, space=space), tmp_path / name)
    run = read_bold(tmp_path / name)
    np.testing.assert_array_equal(run.volumes, volumes)
    np.testing.assert_allclose(run.affine, AFFINE, atol=1e-5)
    assert run.repetition_time == 2.16
    header = nibabel.load(tmp_path / name).header
    assert header.get_xyzt_units() == ("mm", "sec")
    assert header.get_zooms()[3] == np.float32(2.16)
    assert header["toffset"] == np.float32(21.6)
    assert header["descrip"].item().decode() == "eeg2fmri"
    code = {"native": 1, "mni": 4}[space]
    assert (header["sform_code"], header["qform_code"]) == (code, code)
    np.testing.assert_allclose(header.get_qform(), AFFINE, atol=1e-3)


def test_an_affine_that_a_quaternion_cannot_hold_gets_no_qform():
    header = bold_image(np.ones((2, 2, 2, 2)), SHEARED, 2.0).header
    assert header["qform_code"] == 0
    np.testing.assert_array_equal(header.get_best_affine(), SHEARED)


def test_the_same_image_gives_the_same_bytes(tmp_path, volumes):
    for name in ("one.nii.gz", "other.nii.gz"):
        write_bold(bold_image(volumes, AFFINE, 2.0), tmp_path / name)
    assert (tmp_path / "one.nii.gz").read_bytes() == (tmp_path / "other.nii.gz").read_bytes()


def test_a_wrong_output_name_writes_nothing(tmp_path, volumes):
    with pytest.raises(InputError, match=r"\.nii\.gz"):
        write_bold(bold_image(volumes, AFFINE, 2.0), tmp_path / "run.img")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        {"volumes": np.ones((2, 2, 2))},
        {"volumes": [[1, 2], [3]]},
        {"volumes": np.full((2, 2, 2, 2), np.nan)},
        {"volumes": np.ones((2, 2, 2, 2), complex)},
        {"affine": np.zeros((4, 4))},
        {"affine": "eye"},
        {"affine": np.eye(3)},
        {"repetition_time": 0},
        {"repetition_time": "2"},
        {"repetition_time": math.nan},
        {"first_volume_time": math.inf},
        {"space": "talairach"},
    ],
)
def test_bold_image_refuses_bad_arguments(arguments):
    with pytest.raises(InputError):
        bold_image(**{"volumes": np.ones((2, 2, 2, 2)), "affine": AFFINE, "repetition_time": 2.0, **arguments})


@pytest.mark.parametrize(
    ("in_header", "units", "in_sidecar", "expected"),
    [
        (2.16, 10, None, 2.16),
        (2160, 18, None, 2.16),
        (2160000, 26, None, 2.16),
        (2.16, 2, None, 2.16),
        (2.16, 10, 2.17, 2.16),
        (0, 10, 2.0, 2.0),
        (2000, 10, 2.0, 2.0),
        (math.nan, 10, 2.0, 2.0),
        (2.0, 34, 3.0, 3.0),
        (2.16, 10, 2.0, "header and 2 s in the JSON"),
        (2000, 10, None, "2000 s in the header"),
        (0, 10, None, "0 s in the header"),
        (2.0, 34, None, "nan s in the header"),
        (0, 10, 2000, "2000 s in the JSON"),
        (2.0, 10, "2", "RepetitionTime '2'"),
        (2.0, 10, True, "RepetitionTime True"),
        (2.0, 10, 10**400, "RepetitionTime 1000"),
    ],
)
def test_repetition_time_of_header_and_sidecar(tmp_path, image_bytes, in_header, units, in_sidecar, expected):
    path = tmp_path / "run.nii"
    path.write_bytes(changed(image_bytes, pixdim=pixdim(in_header), xyzt_units=units))
    if in_sidecar is not None:
        path.with_suffix(".json").write_text(json.dumps({"RepetitionTime": in_sidecar}))
    if isinstance(expected, str):
        with pytest.raises(RecordingError, match=expected):
            read_bold(path)
    else:
        assert read_bold(path).repetition_time == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("in_sidecar", "fits"), [(2.0006, True), (2.0007, False), (2.018, False)])
def test_a_small_difference_of_repetition_times_adds_up_over_a_long_run(tmp_path, in_sidecar, fits):
    """Without markers the repetition time alone places the volumes: 2.018 s are 5.4 s over 300 of 2 s."""
    write_bold(bold_image(np.ones((2, 2, 2, 300)), AFFINE, 2.0), tmp_path / "run.nii")
    (tmp_path / "run.json").write_text(json.dumps({"RepetitionTime": in_sidecar}))
    if fits:
        assert read_bold(tmp_path / "run.nii").repetition_time == 2.0
    else:
        with pytest.raises(RecordingError, match=r"s over 300 volumes; expected values that agree within 1 %, and"):
            read_bold(tmp_path / "run.nii")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"/annex/objects/KEY"])
def test_a_damaged_sidecar_is_named(tmp_path, image_bytes, content):
    (tmp_path / "run.nii").write_bytes(image_bytes)
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(FileError, match=r"run\.json"):
        read_bold(tmp_path / "run.nii")


def test_a_stated_repetition_time_must_be_plausible(tmp_path, image_bytes):
    (tmp_path / "run.nii").write_bytes(image_bytes)
    with pytest.raises(InputError, match="repetition_time"):
        read_bold(tmp_path / "run.nii", repetition_time=2000)


def test_a_single_volume_is_read_only_when_asked_for(tmp_path, volumes):
    path = tmp_path / "mean.nii.gz"
    nibabel.Nifti1Image(volumes[..., 0], AFFINE).to_filename(path)
    with pytest.raises(RecordingError, match="a single volume"):
        read_bold(path)
    run = read_bold(path, allow_single=True)
    assert run.volumes.shape == (6, 5, 4, 1)
    assert run.repetition_time is None


def test_missing_and_pointer_files(tmp_path):
    (tmp_path / "text.nii.gz").write_bytes(b"/annex/objects/MD5E-s1--0.nii.gz\n")
    (tmp_path / "link.nii.gz").symlink_to("../../.git/annex/objects/x/y.nii.gz")
    (tmp_path / "empty.nii.gz").touch()
    for name, word in [("text", "annex"), ("link", "annex"), ("empty", "empty"), ("none", "none")]:
        with pytest.raises(FileError, match=word):
            read_bold(tmp_path / f"{name}.nii.gz")


@pytest.mark.parametrize(
    "fields",
    [
        {"dim": [4, -6, 5, 4, 7, 1, 1, 1]},
        {"dim": [4, 0, 5, 4, 7, 1, 1, 1]},
        {"dim": [4, 32767, 32767, 32767, 32767, 1, 1, 1]},
        {"dim": [4, 6, 5, 4, 8, 1, 1, 1]},
        {"dim": [4, 6, 5, 4, 6, 1, 1, 1]},
        {"dim": [-3, 6, 5, 4, 7, 1, 1, 1]},
        {"dim": [9, 6, 5, 4, 7, 1, 1, 1]},
        {"dim": [2, 6, 140, 1, 1, 1, 1, 1]},
        {"dim": [5, 6, 5, 4, 1, 7, 1, 1]},
        {"scl_slope": math.nan},
        {"scl_slope": math.inf},
        {"scl_slope": 3e38},
        {"scl_slope": 1, "scl_inter": math.nan},
        {"datatype": 32},
        {"datatype": 128},
        {"datatype": 0},
        {"datatype": 16},
        {"bitpix": 8},
        {"vox_offset": math.nan},
        {"vox_offset": -1},
        {"vox_offset": 0},
        {"vox_offset": 1e38},
        {"vox_offset": 352.5},
        {"magic": b"ni1"},
        {"magic": b"n+2"},
        {"srow_x": [math.nan, 0, 0, 0]},
        {"srow_x": [0, 0, 0, 0]},
        {"srow_y": [-3.3, 0, 0, 0]},
        {"sform_code": 0, "quatern_b": 3},
        {"sform_code": 0, "quatern_b": math.nan},
        {"sform_code": 0, "pixdim": [-1, -3, 3, 3, 2, 0, 0, 0]},
    ],
)
def test_hostile_headers_are_refused(tmp_path, image_bytes, fields):
    content = changed(image_bytes, **fields)
    (tmp_path / "run.nii").write_bytes(content)
    (tmp_path / "run.nii.gz").write_bytes(gzip.compress(content))
    for name in ("run.nii", "run.nii.gz"):
        with pytest.raises((FileError, RecordingError), match=name):
            read_bold(tmp_path / name)


def test_scaling_of_the_header(tmp_path, image_bytes, volumes):
    (tmp_path / "run.nii").write_bytes(changed(image_bytes, scl_slope=0, scl_inter=math.nan))
    np.testing.assert_array_equal(read_bold(tmp_path / "run.nii").volumes, volumes.astype(np.int16))
    (tmp_path / "run.nii").write_bytes(changed(image_bytes, scl_slope=0.5, scl_inter=-3))
    np.testing.assert_array_equal(read_bold(tmp_path / "run.nii").volumes, volumes.astype(np.int16) * 0.5 - 3)


def test_big_endian_and_an_orientation_that_is_missing(tmp_path, volumes, caplog):
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">f8")
    image = nibabel.Nifti1Image(volumes.astype(np.float64), None, header)
    image.header["pixdim"][4] = 2.0
    (tmp_path / "run.nii").write_bytes(image.to_bytes())
    np.testing.assert_array_equal(read_bold(tmp_path / "run.nii").volumes, volumes)
    assert "no orientation" in caplog.text


def test_voxels_that_are_not_finite_are_counted(tmp_path, volumes):
    volumes[1, 2, 3, 4] = np.nan
    volumes[5, 0, 0, 6] = np.inf
    image = nibabel.Nifti1Image(volumes, AFFINE)
    image.header["pixdim"][4] = 2.0
    image.to_filename(tmp_path / "run.nii.gz")
    with pytest.raises(RecordingError, match=r"2 voxels that are NaN or Inf, the first at \(1, 2, 3, 4\)"):
        read_bold(tmp_path / "run.nii.gz")


def test_a_run_needs_a_repetition_time():
    with pytest.raises(RecordingError, match="None"):
        BOLDRun(np.ones((2, 2, 2, 2)), np.eye(4), None, "array")


def test_flipped_header_bits_are_found_or_leave_the_voxels_alone(tmp_path, image_bytes):
    """Every bit that says where and how voxels are stored is checked. Slope and intercept carry no redundancy."""
    path = tmp_path / "run.nii"
    path.write_bytes(image_bytes)
    whole = read_bold(path).volumes
    header_size, sizes, data_type, first_voxel, magic = (0, 4), (42, 50), (70, 74), (108, 112), (344, 348)
    storage = {byte for field in (header_size, sizes, data_type, first_voxel, magic) for byte in range(*field)}
    rng = np.random.default_rng(3)
    for position in range(352):
        for bit in range(8) if position in storage else rng.integers(0, 8, 2):
            damaged = bytearray(image_bytes)
            damaged[position] ^= 1 << int(bit)
            path.write_bytes(damaged)
            try:
                run = read_bold(path)
            except EEG2fMRIError:
                continue
            assert position not in storage, (position, bit)
            assert 112 <= position < 120 or np.array_equal(run.volumes, whole), (position, bit)


@pytest.mark.parametrize("name", ["run.nii", "run.nii.gz"])
def test_cut_and_padded_files_are_refused(tmp_path, image_bytes, name):
    content = gzip.compress(image_bytes, mtime=0) if name.endswith("gz") else image_bytes
    rng = np.random.default_rng(1)
    path = tmp_path / name
    for size in rng.choice(len(content), 150, replace=False):
        path.write_bytes(content[:size])
        with pytest.raises(FileError):
            read_bold(path)
    for extra in (b"\1", b"extra content", content, gzip.compress(b"\0")):
        path.write_bytes(content + extra)
        with pytest.raises(FileError):
            read_bold(path)


def test_flipped_bits_in_gzip_never_change_the_result(tmp_path, image_bytes):
    content = gzip.compress(image_bytes, mtime=0)
    path = tmp_path / "run.nii.gz"
    path.write_bytes(content)
    whole = read_bold(path)
    rng = np.random.default_rng(2)
    positions = [*range(20), *rng.integers(20, len(content), 150), *range(len(content) - 8, len(content))]
    num_refused = 0
    for position in positions:
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            run = read_bold(path)
        except EEG2fMRIError:
            num_refused += 1
        else:
            np.testing.assert_array_equal(run.volumes, whole.volumes)
            np.testing.assert_array_equal(run.affine, whole.affine)
            assert run.repetition_time == whole.repetition_time
    assert num_refused >= len(positions) - 10


def test_gzip_in_several_members_is_whole(tmp_path, image_bytes, volumes):
    (tmp_path / "run.nii.gz").write_bytes(gzip.compress(image_bytes[:500]) + gzip.compress(image_bytes[500:]))
    np.testing.assert_array_equal(read_bold(tmp_path / "run.nii.gz").volumes, volumes.astype(np.int16))


@pytest.mark.parametrize("sizes", [(512, 512, 32, 16), (6, 5, 4, 7), (512, 512, 512, 16), (60, 50, 40, 30)])
def test_gzip_bombs_cost_no_memory(tmp_path, image_bytes, sizes):
    """A header that tells the truth about 256 MiB of zeros; a small one before them; larger ones."""
    header = changed(image_bytes, dim=[4, *sizes, 1, 1, 1])[:352]
    path = tmp_path / "run.nii.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header)
        for _ in range(256):
            file.write(bytes(2**20))
    tracemalloc.start()
    try:
        with pytest.raises(EEG2fMRIError):
            read_bold(path)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
