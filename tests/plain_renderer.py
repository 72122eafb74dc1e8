"""The method written down plainly: what `method.rendering` must give, bit for bit, whatever it leaves out to be quick.

One tumour after another over the whole image. No boxes that fit, no windows, nothing kept from one tumour to the next,
no voxel left out because it will not change; scipy's sparse matrices with their checks, and loops. The order of the
sums is the renderer's, since it is part of the bits; so is float32. Arrays are (z, y, x).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage, sparse
from scipy.interpolate import CubicSpline
from scipy.stats import norm

from tumorgen.method.plan import Plan, Tumor
from tumorgen.method.scan import Scan

F = np.float32
Rendered = tuple[np.ndarray, np.ndarray]  # image, label


def render_plainly(scan: Scan, plan: Plan) -> Rendered:
    """Whole image and whole label."""
    image, label = scan.image.array.copy(), scan.liver.astype(np.uint8)
    for tumor in plan.tumors:
        image, label = add(scan, tumor, plan, image, label)
    return image, label


def add(scan: Scan, tumor: Tumor, plan: Plan, image: np.ndarray, label: np.ndarray) -> Rendered:
    """One tumour in an image and its label (Eq. 3 to 8)."""
    body = Body.of(scan, tumor, plan.mu_p_hu)
    moving, tissue, label = pushed(scan, tumor, plan.sigma_p_hu, image, label)
    liver = (label > 0).astype(F)
    if tumor.texture_model == "scan" and not tumor.mass_effect_percent:
        liver = blurred_mirrored(liver, 1.5, 3.0, scan.geometry.spacing_mm)
    inside = np.clip(2 * (liver - F(0.5)) + F(0.5), 0, 1)
    alpha, rim = body.alpha * inside, body.rim * inside
    if tumor.texture_model != "published":
        tissue = np.where(alpha < 1, tissue, image.astype(F))
    if tumor.texture_model == "scan":
        tissue = tissue + alpha * (scan.image.array.astype(F) - tissue)
        tissue = cleared(scan, tissue, alpha, liver) + alpha * body.texture
    elif tumor.texture_model == "published":
        tissue = tissue + alpha * body.texture
    else:
        tissue = (1 - alpha) * tissue + alpha * body.texture  # Eq. 4
    tissue = tissue + F(tumor.capsule_hu) * rim  # Eq. 8
    changed = moving | (alpha > 0) | (rim > 0)
    new = tissue
    if image.dtype.kind in "iu":
        info = np.iinfo(image.dtype)
        new = np.clip(np.rint(tissue), info.min, info.max)
    labelled = body.label & (liver >= 0.5)
    if tumor.label_jitter_mm:
        labelled = largest_piece(labelled)
    label = np.where(labelled, np.uint8(2), label)
    return np.where(changed, new.astype(image.dtype), image), label


# -- the tumour by itself ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Body:
    """A tumour on every voxel of an image: label, t'', e' and T'', or what it adds to the scan."""

    label: np.ndarray
    alpha: np.ndarray
    rim: np.ndarray
    texture: np.ndarray

    @classmethod
    def of(cls, scan: Scan, tumor: Tumor, mu_p: float) -> Body:
        """In a cube with room to spare, whether it lies in the image or not; what is in the image is laid into it."""
        spacing, shape = scan.geometry.spacing_mm, scan.geometry.shape
        center = scan.geometry.to_index(tumor.center_mm)
        reach = [int(np.ceil((2.5 * tumor.radius_mm + 10) / s)) for s in spacing]
        voxels = [np.arange(round(c) - n, round(c) + n + 1) for c, n in zip(center, reach, strict=True)]
        parts = [int(np.ceil(s / 1.6 - 1e-6)) // 2 * 2 + 1 for s in spacing]
        fine_mm = [s / k for s, k in zip(spacing, parts, strict=True)]
        axes = [
            (((np.arange(v.size * k) - (k - 1) / 2) / k + v[0] - c) * s).astype(F)
            for v, k, c, s in zip(voxels, parts, center, spacing, strict=True)
        ]
        t = largest_piece(swollen(radii_of(tumor, axes), tumor, axes, fine_mm) <= 1)
        widths = edge_widths(tumor, spacing, parts)
        soft = blurred(t.astype(F), widths, fine_mm)
        is_edge = (soft >= tumor.capsule_low) & (soft <= tumor.capsule_high) & (soft > 0)
        edge = is_edge if tumor.capsule_hu else np.zeros_like(t)
        rim = blurred(edge.astype(F), 3 * [tumor.sigma_d_mm], fine_mm)  # Eq. 6 and 7
        label = annotated(tumor, t, widths, parts, fine_mm)
        t, soft, rim = (mean_of_parts(values, parts) for values in (t, soft, rim))
        if label is None:
            label = t >= 0.5
        if tumor.texture_model == "scan":
            centres = [((v - c) * s).astype(F) for v, c, s in zip(voxels, center, spacing, strict=True)]
            hu = added(tumor, t >= 0.5, soft, centres, spacing, mu_p)
        elif tumor.texture_model == "published":
            places = [(v - c) * s for v, c, s in zip(voxels, center, spacing, strict=True)]
            hu = coins(tumor, places) * F(tumor.mu_t_hu - mu_p)
        else:
            hu = texture(tumor, reach, spacing)
        there = [(v >= 0) & (v < n) for v, n in zip(voxels, shape, strict=True)]
        whole = []
        for values in (label, soft, rim, hu):
            laid = np.zeros(shape, values.dtype)
            laid[np.ix_(*(v[i] for v, i in zip(voxels, there, strict=True)))] = values[np.ix_(*there)]
            whole.append(laid)
        return cls(*whole)


def radii_of(tumor: Tumor, axes: Sequence[np.ndarray]) -> np.ndarray:
    """Radius q of the deformed ellipsoid at every point."""
    total = np.zeros([axis.size for axis in axes], F)
    points, middle = tumor.deform_points, tumor.deform_points // 2
    nodes = np.random.default_rng(tumor.shape_seed).normal(size=(3, points, points, points))
    nodes[:, middle, middle, middle] = 0.0
    cosine, sine = F(np.cos(np.deg2rad(tumor.turn_deg))), F(np.sin(np.deg2rad(tumor.turn_deg)))
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    turned = (z, cosine * y - sine * x, cosine * x + sine * y) if tumor.turn_deg else (z, y, x)
    splines = [spline_matrix(axis, 4 * tumor.radius_mm / (points - 1), points) for axis in axes]
    for number, (place, half) in enumerate(zip(turned, tumor.half_axes_mm, strict=True)):
        along = (place / half).astype(F)
        if tumor.sigma_e_mm:
            along = applied(splines, (nodes[number] * tumor.sigma_e_mm / half).astype(F)) + along
        total = total + along * along
    return np.sqrt(total)


def spline_matrix(axis: np.ndarray, step: float, points: int) -> np.ndarray:
    """Weights of control points `step` apart, whose middle one is at 0, in a cubic spline that is mirrored there."""
    places = np.clip(axis.astype(np.float64) / step + points // 2, 0, points - 1)
    mirrored = np.pad(np.eye(points), [(24, 24), (0, 0)], mode="reflect")  # so far that its own ends do not show
    return CubicSpline(np.arange(-24, points + 24), mirrored)(places).astype(F)


def swollen(q: np.ndarray, tumor: Tumor, axes: Sequence[np.ndarray], spacing_mm: Sequence[float]) -> np.ndarray:
    """The radius read where Eq. 5 pulls every point from."""
    if not (tumor.mass_effect_percent and tumor.gamma_max_mm):
        return q
    points = np.meshgrid(*axes, indexing="ij")
    shift = pull(sum(p**2 for p in points), tumor) - 1
    return eight_corners(
        q, [i + p * shift / s for i, p, s in zip(np.indices(q.shape), points, spacing_mm, strict=True)]
    )


def largest_piece(shape: np.ndarray) -> np.ndarray:
    """One row is one tumour."""
    pieces, _ = ndimage.label(shape, np.ones((3, 3, 3)))
    sizes = np.bincount(pieces.ravel())
    return pieces == 1 + np.argmax(sizes[1:]) if sizes.size > 1 else shape


def mean_of_parts(values: np.ndarray, parts: Sequence[int]) -> np.ndarray:
    """Mean over the fine parts of each voxel."""
    z, y, x = (n // k for n, k in zip(values.shape, parts, strict=True))
    i, j, k = parts
    return values.reshape(z, i, y, j, x, k).mean(axis=(1, 3, 5), dtype=F)


def edge_widths(tumor: Tumor, spacing_mm: Sequence[float], parts: Sequence[int]) -> list[float]:
    """Width of the edge's blur along each axis; on the scan's own noise no sharper than voxels are."""
    widths = []
    for s, k in zip(spacing_mm, parts, strict=True):
        voxel = s * float(np.sqrt(0.45**2 - 1 / 12 + 1 / (6 * k**2)))
        widths.append(max(tumor.sigma_c_mm, voxel) if tumor.texture_model == "scan" else tumor.sigma_c_mm)
    return widths if tumor.sigma_c_mm else [0.0, 0.0, 0.0]


def annotated(
    tumor: Tumor, t: np.ndarray, widths: Sequence[float], parts: Sequence[int], fine_mm: Sequence[float]
) -> np.ndarray | None:
    """The label as an annotator draws it, on voxels; None where the exact one is wanted."""
    inset, jitter = tumor.label_inset_mm, tumor.label_jitter_mm
    if not (inset or jitter):
        return None
    width = max(*widths[1:], inset / 2 + jitter, 0.5 * max(fine_mm))
    soft = blurred(t.astype(F), 3 * [width], fine_mm)
    spacing = [s * k for s, k in zip(fine_mm, parts, strict=True)]
    shape = [n // k for n, k in zip(t.shape, parts, strict=True)]
    noise = smooth_noise(tumor.shape_seed ^ 0x9E3779B97F4A7C15, 1.8, shape, spacing)
    depth = np.full(shape, inset) + jitter * noise
    inside = soft >= np.kron(norm.cdf(depth / width), np.ones(parts))
    return largest_piece(mean_of_parts(inside, parts) >= 0.5)


# -- texture -----------------------------------------------------------------------------------------------------------


def texture(tumor: Tumor, reach: Sequence[int], spacing_mm: Sequence[float]) -> np.ndarray:
    """Eq. 3 around the centre's voxel: noise on a coarser grid, scaled up, blurred, its deviation brought back."""
    far = [int((n + 8 * tumor.sigma_b_mm / s) / tumor.eta) + 12 for n, s in zip(reach, spacing_mm, strict=True)]
    filters = [
        noise_filter(range(-n, n + 1), nodes, tumor.eta, tumor.sigma_b_mm / s)
        for n, nodes, s in zip(reach, far, spacing_mm, strict=True)
    ]
    return applied(filters, white_noise(tumor.texture_seed, far)) * F(tumor.sigma_t_hu) + F(tumor.mu_t_hu)


def smooth_noise(seed: int, grain_mm: float, shape: Sequence[int], spacing_mm: Sequence[float]) -> np.ndarray:
    """Noise of this grain around the middle voxel, on nodes a grain apart."""
    reach, grains = [n // 2 for n in shape], [grain_mm / s for s in spacing_mm]
    steps = [max(1.0, round(grain, 2)) for grain in grains]
    far = [int((n + 8 * grain) / step) + 12 for n, grain, step in zip(reach, grains, steps, strict=True)]
    filters = [
        noise_filter(range(-n, n + 1), nodes, step, grain)
        for n, nodes, step, grain in zip(reach, far, steps, grains, strict=True)
    ]
    return applied(filters, white_noise(seed, far))


def added(
    tumor: Tumor,
    t: np.ndarray,
    soft: np.ndarray,
    centres: Sequence[np.ndarray],
    spacing_mm: Sequence[float],
    mu_p: float,
) -> np.ndarray:
    """What a tumour adds to the scan: so much that the mean over its core is the drawn contrast."""
    hu = np.zeros(t.shape, F)
    if tumor.heterogeneity_hu:
        hu = hu + smooth_noise(tumor.texture_seed, tumor.grain_mm, t.shape, spacing_mm) * F(tumor.heterogeneity_hu)
    if tumor.necrosis_hu:
        z, y, x = tumor.half_axes_mm
        widths = [max(tumor.necrosis_extent * half, 1e-6) for half in (z, (y * x) ** 0.5, (y * x) ** 0.5)]
        z, y, x = (
            np.rint(np.exp(-0.5 * (c.astype(float) / w) ** 2) * 2**24) / 2**24
            for c, w in zip(centres, widths, strict=True)
        )
        hill = z.astype(F)[:, None, None] * y.astype(F)[:, None] * x.astype(F)
        hu = hu + hill * F(tumor.necrosis_hu)
    where = core(t, tumor.radius_mm, spacing_mm)
    if not where.any():
        where = soft >= soft.max()
    weights = soft[where].astype(float)
    missing = (tumor.mu_t_hu - mu_p) * weights.size - np.sum(weights * hu[where])
    return hu + F(round(float(missing / max(weights.sum(), 0.1 * weights.size)), 4))


def core(t: np.ndarray, radius_mm: float, spacing_mm: Sequence[float]) -> np.ndarray:
    """Voxels 2 mm or r / 2 inside the outline in plane, in slices with half of the largest area."""
    areas = t.sum(axis=(1, 2))
    deep = np.zeros_like(t)
    counted = t & (areas >= areas.max() / 2)[:, None, None]
    for found, plane in zip(deep, counted, strict=True):
        depth = ndimage.distance_transform_edt(np.pad(plane, 1), spacing_mm[1:])[1:-1, 1:-1] - min(spacing_mm[1:]) / 2
        found[:] = plane & (depth >= min(2.0, radius_mm / 2) - 1e-3)
    return deep if deep.any() else counted


def noise_filter(voxels: Sequence[int], far: int, eta: float, sigma: float) -> np.ndarray:
    """Weights (voxels, nodes from -far to far): cubic interpolation at the taps of a Gaussian, every row of norm 1."""
    radius = int(np.ceil(4 * sigma))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma, 1e-6)) ** 2)
    nodes = np.arange(-far, far + 1)
    rows = np.zeros((len(voxels), nodes.size))
    for row, voxel in zip(rows, voxels, strict=True):
        places = (voxel + np.arange(-radius, radius + 1)) / eta
        row += (taps[:, None] * cardinal_spline(places[:, None] - nodes)).sum(axis=0)
    norms = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    rows[np.abs(rows) < 5e-4 * norms] = 0  # negligible
    return (rows / np.sqrt((rows**2).sum(axis=1, keepdims=True))).astype(F)


def coins(tumor: Tumor, places_mm: Sequence[np.ndarray]) -> np.ndarray:
    """Coins of 1 mm, drawn by the cube, blurred, over the mean of what is above 0.12; places from the centre."""
    blur = max(tumor.grain_mm, 2.0)
    edge = blur / 2
    far = [int(np.abs(mm).max() / edge) + 8 for mm in places_mm]
    cubes = [np.arange(-n, n + 1) for n in far]
    clump = max(tumor.clump_mm, 2.0) / edge
    nodes = [int(n / clump) + 5 for n in far]
    clumps = [gaussians(c / clump, n, 1.0, "norm") for c, n in zip(cubes, nodes, strict=True)]
    low, span = tumor.least_chance, tumor.chance_span
    chance = applied(clumps, white_noise(tumor.texture_seed, nodes)) * F(span / 8) + F(low + span / 2)
    chance = chance.clip(F(low), F(min(low + span, 1)))
    heads = white_noise(tumor.texture_seed ^ 1, far) * np.sqrt(chance * (1 - chance) * F(edge**-3)) + chance
    texture = applied([gaussians(mm / edge, n, 2.0, "sum") for mm, n in zip(places_mm, far, strict=True)], heads)
    # A normal number's mean above 0.12; its variance: the blurred chance's, and the blurred coins' about it.
    mean, chance_sd, clump_mm = low + span / 2, span / 8, max(tumor.clump_mm, 2.0)
    variance = chance_sd**2 * (clump_mm**2 / (clump_mm**2 + blur**2)) ** 1.5
    variance += (mean * (1 - mean) - chance_sd**2) / (8 * np.pi**1.5 * blur**3)
    below = (0.12 - mean) / np.sqrt(variance)
    counted = round(mean + np.sqrt(variance) * norm.pdf(below) / norm.sf(below), 4)
    return np.minimum(texture * F(1 / counted), F(1 / tumor.texture_level))


def gaussians(places: np.ndarray, far: int, sigma: float, kept: str) -> np.ndarray:
    """Weights (places, points from -far to far), up to 3 sigma from the nearest point; their sum or norm is 1."""
    points = np.arange(-far, far + 1)
    rows = np.exp(-0.5 * ((points - places[:, None]) / sigma) ** 2)
    rows[np.abs(points - np.rint(places)[:, None]) > np.ceil(3 * sigma)] = 0
    whole = rows.sum(axis=1) if kept == "sum" else np.sqrt((rows**2).sum(axis=1))
    return (np.rint(rows / whole[:, None] * 2**24) / 2**24).astype(F)


def cardinal_spline(x: np.ndarray) -> np.ndarray:
    """What a unit at a node is at a distance x, in nodes, in an endless row; nodes beyond the eighth are forgotten."""
    return sum(np.sqrt(3) * (np.sqrt(3) - 2) ** abs(k) * b_spline(np.abs(x - k)) for k in range(-8, 9))


def b_spline(x: np.ndarray) -> np.ndarray:
    """The cubic B-spline."""
    return np.where(x < 1, 2 / 3 - x**2 + x**3 / 2, np.where(x < 2, (2 - x) ** 3 / 6, 0))


def white_noise(seed: int, far: Sequence[int]) -> np.ndarray:
    """Noise on the nodes from -far to far: four planes at a time, node by node in rings around the middle."""
    planes, rows, columns = far
    ring = [
        (y, x)
        for k in range(max(rows, columns) + 1)
        for y in range(-k, k + 1)
        for x in range(-k, k + 1)
        if max(abs(y), abs(x)) == k
    ]
    y, x = np.transpose(ring)
    noise = np.empty((2 * planes + 1, 2 * y.max() + 1, 2 * x.max() + 1), F)
    for plane in range(-planes, planes + 1):
        bits = np.random.PCG64(seed)
        bits.advance((plane // 4) % 2**32 << 64)
        drawn = np.random.Generator(bits).standard_normal((len(ring), 4), F)
        noise[plane + planes, y + y.max(), x + x.max()] = drawn[:, plane % 4]
    return noise[:, y.max() - rows : y.max() + rows + 1, x.max() - columns : x.max() + columns + 1]


# -- mass effect -------------------------------------------------------------------------------------------------------


def pull(gamma2: np.ndarray, tumor: Tumor) -> np.ndarray:
    """gamma' / gamma (Eq. 5); 1 from gamma_max on."""
    factor = 1 - (1 - np.sqrt(gamma2) / tumor.gamma_max_mm) ** 2 * (tumor.mass_effect_percent / 100)
    return np.where(gamma2 < tumor.gamma_max_mm**2, factor, F(1))


def pushed(scan: Scan, tumor: Tumor, sigma_p: float, image: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, ...]:
    """Which voxels move, the tissue and the label (Eq. 5), read within the box around the ball that moves."""
    tissue, moving = image.astype(F), np.zeros(image.shape, bool)
    if not (tumor.mass_effect_percent and tumor.gamma_max_mm):
        return moving, tissue, label
    center, spacing = scan.geometry.to_index(tumor.center_mm), scan.geometry.spacing_mm
    far = [tumor.gamma_max_mm / s for s in spacing]
    box = tuple(
        slice(max(0, int(np.ceil(c - f))), min(n, int(np.floor(c + f)) + 1))
        for c, f, n in zip(center, far, image.shape, strict=True)
    )
    offsets = [np.arange(b.start, b.stop) - c for b, c in zip(box, center, strict=True)]
    z, y, x = np.meshgrid(*[(o * s).astype(F) for o, s in zip(offsets, spacing, strict=True)], indexing="ij")
    gamma2 = z**2 + y**2 + x**2
    factor = pull(gamma2, tumor)
    source = [
        o.astype(F) * factor + F(c - b.start)
        for o, c, b in zip(np.meshgrid(*offsets, indexing="ij"), center, box, strict=True)
    ]
    freedom = freedom_of(scan, box, tumor.bone_hu)
    at = np.indices(freedom.shape).astype(F)
    source = [np.where(freedom < 1, i + freedom * (s - i), s) for i, s in zip(at, source, strict=True)]
    moving[box] = (gamma2 < tumor.gamma_max_mm**2) & (freedom > 0)
    noise = noise_of(tissue[box], sigma_p)
    tissue[box] = np.where(moving[box], eight_corners(tissue[box] - noise, source) + noise, tissue[box])
    label = label.copy()
    places = tuple(np.rint(i.clip(0, n - 1)).astype(int) for i, n in zip(source, label[box].shape, strict=True))
    label[box] = np.where(moving[box], label[box][places], label[box])
    return moving, tissue, label


def freedom_of(scan: Scan, box: tuple[slice, ...], bone_hu: float) -> np.ndarray:
    """How freely each voxel of the box moves: 0 up to 2 mm from bone, 1 from 10 mm on; bone is looked for at 2 mm."""
    if not bone_hu:
        return np.ones([b.stop - b.start for b in box], F)
    spacing, image = scan.geometry.spacing_mm, scan.image.array
    steps = [max(1, int(2 / s)) for s in spacing]
    starts = [max(0, b.start - int(np.ceil(10 / s))) // k * k for b, s, k in zip(box, spacing, steps, strict=True)]
    ends = [min(n, b.stop + int(np.ceil(10 / s))) for b, s, n in zip(box, spacing, image.shape, strict=True)]
    looks = tuple(slice(*each) for each in zip(starts, ends, steps, strict=True))
    pieces, count = ndimage.label((image[looks] > bone_hu) & ~scan.liver[looks], np.ones((3, 3, 3)))
    bone = np.zeros(pieces.shape, bool)
    for piece in range(1, count + 1):
        if (pieces == piece).sum() * np.prod(spacing) * np.prod(steps) >= 500:
            bone |= pieces == piece
    apart = np.multiply(steps, spacing)
    distance = ndimage.distance_transform_edt(~bone, apart) if bone.any() else np.full(bone.shape, np.inf)
    freedom = (np.rint((distance - 2) * 8).clip(0, 64) / 64).astype(F)
    places = [(np.arange(b.start, b.stop) - a) / k for b, a, k in zip(box, starts, steps, strict=True)]
    return applied([tents(at, n) for at, n in zip(places, freedom.shape, strict=True)], freedom)


def tents(places: np.ndarray, points: int) -> np.ndarray:
    """Weights (places, points) of linear interpolation between points one apart."""
    return np.maximum(0, 1 - np.abs(places.clip(0, points - 1)[:, None] - np.arange(points))).astype(F)


def noise_of(hu: np.ndarray, sigma_p: float) -> np.ndarray:
    """What departs from the local mean by no more than 3 sigma_p, less where that mean is steep."""
    if not sigma_p:
        return np.zeros_like(hu)
    mean = hu
    for axis in (2, 1, 0):
        padded = np.pad(mean, [(3, 3) if i == axis else (0, 0) for i in range(3)], mode="symmetric")
        mean = applied_along(band(gaussian_taps(1.0, 3), hu.shape[axis]), padded, axis)
    slopes = (np.gradient(mean, axis=axis) for axis in range(3) if mean.shape[axis] > 1)
    steep = sum((slope * slope for slope in slopes), F(0)) * F(1 / (0.8 * sigma_p) ** 2)
    return np.clip(hu - mean, -F(3 * sigma_p), F(3 * sigma_p)) / (steep * steep + 1)


# -- what is foreign under a tumour ------------------------------------------------------------------------------------


def cleared(scan: Scan, hu: np.ndarray, weight: np.ndarray, liver: np.ndarray) -> np.ndarray:
    """An image with what is foreign taken away as far as the weight says, its noise that of parenchyma nearby."""
    spacing, original = scan.geometry.spacing_mm, scan.image.array.astype(F)
    near = np.clip(original, scan.mu_p_hu - 150, scan.mu_p_hu + 250)
    foreign, parenchyma, background, known = (np.zeros(hu.shape, kind) for kind in (bool, bool, F, bool))
    foreign[scan.roi], parenchyma[scan.roi], known[scan.roi] = scan.tissue.foreign, scan.tissue.parenchyma, True
    background[scan.roi] = between_cells(scan)
    smooth = blurred_mirrored(near, 1.2, 3.0 * 1.2, spacing)
    wide = foreign.copy()
    for axis in (1, 2):
        for step in (-1, 1):
            wide |= shifted(foreign, [step if i == axis else 0 for i in range(3)])
    clear = wide & known & (weight > F(0.02)) & ((liver >= F(0.95)) | (smooth > background))
    change = (background - smooth) * weight
    borrowed = clear & (weight > 0.5)
    own, noise = original - smooth, original - smooth
    left = borrowed.copy()
    for shift in shifts_to_borrow_by(spacing, parenchyma, borrowed):
        there = left & shifted(parenchyma, shift)
        noise[there] = shifted(original - background, shift)[there]
        left &= ~there
    change = np.where(borrowed, change + (noise - own), change)
    return np.where(clear, hu + change, hu)


def between_cells(scan: Scan) -> np.ndarray:
    """The background of every voxel of the scan's region: linear between the centres of cells."""
    cells, matrices = scan.tissue.background.hu, []
    for box, size, count in zip(scan.roi, scan.tissue.background.cell, cells.shape, strict=True):
        matrix = np.zeros((box.stop - box.start, count), F)
        for voxel, row in enumerate(matrix):
            place = min(max((voxel - (size - 1) / 2) / size, 0), count - 1)
            low = min(int(place), max(count - 2, 0))
            row[low] = 1 - F(place - low)
            if count > 1:
                row[low + 1] = place - low
        matrices.append(matrix)
    return applied(matrices, cells)


def shifts_to_borrow_by(
    spacing_mm: Sequence[float], parenchyma: np.ndarray, wanted: np.ndarray
) -> list[tuple[int, int, int]]:
    """The nearest shift in plane by which 98 % of what is wanted is parenchyma and the next, six in all."""
    shifts = []
    for ring, distance in enumerate((4, 6, 8, 11, 15, 20, 27, 36)):
        for number in range(12):
            angle = 2 * np.pi * (number + 0.5 * (ring % 2)) / 12
            _, y, x = spacing_mm
            shifts.append((0, round(distance * np.sin(angle) / y), round(distance * np.cos(angle) / x)))
    places = np.argwhere(wanted)
    places = places[:: max(1, len(places) // 200)]
    shares = [np.mean([at(parenchyma, place + shift) for place in places]) if len(places) else 0 for shift in shifts]
    for number, share in enumerate(shares):
        if share >= 0.98:
            return shifts[number : number + 6]
    return [shifts[number] for number in np.argsort(-np.array(shares), kind="stable")[:6]]


def at(mask: np.ndarray, place: np.ndarray) -> bool:
    """Whether a place is in a mask; beyond its ends nothing is."""
    return bool((place >= 0).all() and (place < mask.shape).all() and mask[tuple(place)])


def shifted(values: np.ndarray, shift: Sequence[int]) -> np.ndarray:
    """What is found a shift away from every voxel; beyond the ends nothing is."""
    padded = np.pad(values, [(abs(s), abs(s)) for s in shift])
    return padded[tuple(slice(abs(s) + s, abs(s) + s + n) for s, n in zip(shift, values.shape, strict=True))]


# -- what all of it is made of -----------------------------------------------------------------------------------------


def applied(matrices: Sequence[np.ndarray], values: np.ndarray) -> np.ndarray:
    """A matrix applied to each axis, x first."""
    for axis in (2, 1, 0):
        values = applied_along(matrices[axis], values, axis)
    return values


def applied_along(matrix: np.ndarray, values: np.ndarray, axis: int) -> np.ndarray:
    columns = np.moveaxis(values, axis, 0)
    product = sparse.csr_array(matrix) @ columns.reshape(len(columns), -1)
    return np.moveaxis(product.reshape(-1, *columns.shape[1:]), 0, axis)


def blurred(values: np.ndarray, sigmas_mm: Sequence[float], spacing_mm: Sequence[float]) -> np.ndarray:
    """Gaussian blur, cut off at 3 sigma; zeros follow at the ends."""
    for axis in (2, 1, 0) if any(sigmas_mm) else ():
        sigma = sigmas_mm[axis] / spacing_mm[axis]
        radius = int(3 * sigma + 0.5)
        padded = np.pad(values, [(radius, radius) if i == axis else (0, 0) for i in range(3)])
        values = applied_along(band(gaussian_taps(sigma, radius), values.shape[axis]), padded, axis)
    return values


def blurred_mirrored(values: np.ndarray, sigma_mm: float, reach_mm: float, spacing_mm: Sequence[float]) -> np.ndarray:
    """Gaussian blur, cut off where it has reached so far; the image is mirrored at its ends."""
    for axis in (2, 1, 0):
        sigma = sigma_mm / spacing_mm[axis]
        radius = int(np.ceil(reach_mm / spacing_mm[axis]))
        padded = np.pad(values, [(radius, radius) if i == axis else (0, 0) for i in range(3)], mode="symmetric")
        values = applied_along(band(gaussian_taps(sigma, radius), values.shape[axis]), padded, axis)
    return values


def band(taps: np.ndarray, rows: int) -> np.ndarray:
    """Row i has the taps from column i on."""
    matrix = np.zeros((rows, rows + taps.size - 1), F)
    for i, row in enumerate(matrix):
        row[i : i + taps.size] = taps
    return matrix


def gaussian_taps(sigma: float, radius: int) -> np.ndarray:
    """Weights in whole 2^-24ths that add up to 1."""
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma, 1e-15)) ** 2)
    parts = np.rint(weights / weights.sum() * 2**24)
    parts[radius] += 2**24 - parts.sum()
    return (parts / 2**24).astype(F)


def eight_corners(values: np.ndarray, index: Sequence[np.ndarray]) -> np.ndarray:
    """Trilinear interpolation; beyond the ends the value at the end."""
    index = [i.astype(F).clip(0, n - 1) for i, n in zip(index, values.shape, strict=True)]
    low = [np.minimum(np.floor(i), max(n - 2, 0)).astype(int) for i, n in zip(index, values.shape, strict=True)]
    high = [np.minimum(i + 1, n - 1) for i, n in zip(low, values.shape, strict=True)]
    z, y, x = (i - a.astype(F) for i, a in zip(index, low, strict=True))

    def on_line(k: np.ndarray, j: np.ndarray) -> np.ndarray:
        a, b = values[k, j, low[2]], values[k, j, high[2]]
        return (b - a) * x + a

    def on_face(k: np.ndarray) -> np.ndarray:
        a, b = on_line(k, low[1]), on_line(k, high[1])
        return (b - a) * y + a

    a, b = on_face(low[0]), on_face(high[0])
    return (b - a) * z + a
