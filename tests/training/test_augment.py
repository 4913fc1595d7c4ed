import pytest
import torch
from torchvision.transforms import v2

from falconet.training import augment
from falconet.training.augment import COLUMNS, Augmentation


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(200, 3, 12, 10, generator=torch.Generator().manual_seed(0)) + 1


def chance(count: int, columns: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, columns, generator=torch.Generator().manual_seed(seed))


def test_flip_mirrors_the_chosen_ones(images: torch.Tensor) -> None:
    mirrored = torch.arange(len(images)) % 3 == 0
    flipped = augment.flip(images, mirrored)
    torch.testing.assert_close(flipped[mirrored], images[mirrored].flip(3), rtol=0, atol=0)
    torch.testing.assert_close(flipped[~mirrored], images[~mirrored], rtol=0, atol=0)


def test_translate_shifts_each_image_by_itself() -> None:
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(10.0), indexing="ij")
    images = torch.stack([rows, columns, rows + columns]).repeat(400, 1, 1, 1)
    shifted = augment.translate(images, 2, chance(400))
    middle = shifted[:, :, 6, 5] - images[:, :, 6, 5]
    torch.testing.assert_close(middle[:, 2], middle[:, 0] + middle[:, 1])
    # All 25 shifts occur, each about as often as the others.
    pairs, counts = torch.unique(middle[:, :2], dim=0, return_counts=True)
    assert sorted(pairs.tolist()) == [
        [float(y), float(x)] for y in range(-2, 3) for x in range(-2, 3)
    ]
    assert counts.min() >= 4
    # What comes in at the edge is the image's mirror image.
    for image, (dy, dx) in zip(shifted, middle[:, :2].tolist(), strict=True):
        assert image[0, 0, 0] == abs(dy)
        assert image[1, 0, 0] == abs(dx)


def test_cutout_blanks_one_square(images: torch.Tensor) -> None:
    cut = augment.cutout(images, 4, chance(200))
    blank = cut == 0
    assert (blank.sum((1, 2, 3)) == 3 * 16).all()
    assert (blank[:, 0].any(2).sum(1) == 4).all()
    assert (blank[:, 0].any(1).sum(1) == 4).all()
    torch.testing.assert_close(cut[~blank], images[~blank], rtol=0, atol=0)
    positions = {tuple(p[0].nonzero()[0].tolist()) for p in blank}
    assert len(positions) > 30  # of 9 x 7


def test_affine_turns_a_quarter_exactly() -> None:
    images = torch.rand(2, 3, 9, 9)
    turned = augment.affine(images, torch.tensor([90.0, 0.0]), torch.zeros(2, 2))
    torch.testing.assert_close(turned[0], images[0].rot90(1, (1, 2)), rtol=0, atol=1e-5)
    torch.testing.assert_close(turned[1], images[1], rtol=0, atol=1e-5)


def test_affine_turns_oblong_images_without_shearing() -> None:
    """A dot stays as far from the center as it was, in pixels."""
    images = torch.zeros(1, 1, 21, 41)
    images[0, 0, 10, 28] = 1  # 8 to the right of the center
    turned = augment.affine(images, torch.tensor([90.0]), torch.zeros(1, 2))
    assert turned[0, 0].argmax().item() == 2 * 41 + 20  # 8 above it


def test_affine_moves_by_shares_and_repeats_the_edge() -> None:
    images = torch.arange(10.0).repeat(1, 1, 20, 1)
    moved = augment.affine(images, torch.zeros(1), torch.tensor([[0.2, 0.0]]))
    expected = torch.tensor([2.0, 3, 4, 5, 6, 7, 8, 9, 9, 9])
    torch.testing.assert_close(moved[0, 0, 7], expected, rtol=0, atol=1e-4)


def test_cutmix_mixes_images_and_targets_alike() -> None:
    """Each image is of one value, which tells where its pixels come from."""
    flat = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 3, 12, 10)
    shares = []
    for seed in range(200):
        generator = torch.Generator().manual_seed(seed)
        mixed, target = augment.cutmix(flat, torch.eye(6), augment.draw_box(1.0, 12, 10, generator))
        own = mixed == flat
        assert (mixed[~own].unique() == torch.arange(6.0)).all() or own.all()
        share = own.float().mean((1, 2, 3))
        torch.testing.assert_close(target.diag(), share)
        torch.testing.assert_close(target.sum(1), torch.ones(6))
        torch.testing.assert_close(mixed[~own].sum(), flat.roll(1, 0)[~own].sum())
        shares.append(share[0].item())
    # Uniform but for boxes that reach over the edge.
    assert min(shares) < 0.4
    assert max(shares) > 0.95
    assert 0.45 < sum(shares) / 200 < 0.75


FULL = Augmentation(rotate=10, shift=0.1, flip="random", translate=2, cutout=4)


@pytest.mark.parametrize("name", ["rotate", "shift", "flip", "translate", "cutout"])
def test_each_field_does_something(images: torch.Tensor, name: str) -> None:
    only = Augmentation(**{name: getattr(FULL, name)})
    mirrored = torch.zeros(len(images), dtype=torch.bool)
    changed = only(images, chance(200, COLUMNS), mirrored)
    assert changed.shape == images.shape
    assert (changed != images).any((1, 2, 3)).float().mean() > 0.4


def test_nothing_asked_is_nothing_done(images: torch.Tensor) -> None:
    assert Augmentation()(images, chance(200, COLUMNS), torch.ones(200)) is images


def test_alternating_flips_are_given(images: torch.Tensor) -> None:
    mirrored = torch.arange(len(images)) % 2 == 0
    flipped = Augmentation(flip="alternating")(images, chance(200, COLUMNS), mirrored)
    torch.testing.assert_close(flipped, augment.flip(images, mirrored), rtol=0, atol=0)


def test_a_part_of_a_batch_is_augmented_as_in_the_whole(images: torch.Tensor) -> None:
    """What lets several processes share a batch."""
    drawn, mirrored = chance(200, COLUMNS), torch.arange(200) % 2 == 0
    whole = FULL(images, drawn, mirrored)
    part = FULL(images[1::3], drawn[1::3], mirrored[1::3])
    torch.testing.assert_close(part, whole[1::3], rtol=0, atol=0)


def test_no_two_fields_share_their_chance() -> None:
    """What is drawn for one must not tell about another."""
    used: list[int] = []
    for columns in (
        augment.ROTATE,
        augment.SHIFT,
        augment.MIRROR,
        augment.TRANSLATE,
        augment.CUTOUT,
        augment.CROP,
        augment.COLOR,
    ):
        used += range(COLUMNS)[columns] if isinstance(columns, slice) else [columns]
    assert sorted(used) == list(range(COLUMNS))


def test_crops_are_those_of_torchvision() -> None:
    """Where their edges lie between pixels; torchvision takes no pixels beyond them, we do."""
    images = torch.rand(3, 3, 40, 60, generator=torch.Generator().manual_seed(0)) * 255
    boxes = [(0, 0, 40, 60), (5, 9, 20, 30), (12, 0, 16, 18)]  # top, left, height, width
    corner = torch.tensor([[top / 40, left / 60] for top, left, _, _ in boxes])
    sides = torch.tensor([[height / 40, width / 60] for _, _, height, width in boxes])
    cut = augment.crop(images, corner, sides, (32, 24))
    for image, box, found in zip(images, boxes, cut, strict=True):
        expected = v2.functional.resized_crop(image, *box, size=[32, 24], antialias=False)
        torch.testing.assert_close(found[:, 2:-2, 2:-2], expected[:, 2:-2, 2:-2], atol=1e-2, rtol=0)


def test_crops_lie_within_images_and_keep_enough() -> None:
    ratios = torch.tensor([4 / 3, 3 / 4, 1.0, 3.0]).repeat(1000)
    corner, sides = augment.crop_boxes(0.3, chance(4000, 4), ratios)
    assert (corner >= 0).all()
    assert (corner + sides <= 1 + 1e-6).all()
    whole = (sides < 1).all(1)  # not cut off
    area = sides.prod(1)[whole]
    assert 0.3 - 1e-5 <= area.min() < 0.32
    assert area.max() > 0.9
    shape = (sides[:, 1] / sides[:, 0] * ratios)[whole]  # width by height, in pixels
    assert 3 / 4 - 1e-4 <= shape.min() < 0.77
    assert 1.31 < shape.max() <= 4 / 3 + 1e-4


def test_colors_change_as_in_torchvision() -> None:
    images = torch.rand(4, 3, 9, 8, generator=torch.Generator().manual_seed(0))
    factors = torch.tensor([[0.6, 1.0, 1.0], [1.0, 1.5, 1.0], [1.0, 1.0, 0.2], [1.3, 0.7, 1.4]])
    found = augment.jitter(images * 255, *factors.T) / 255
    for image, (brightness, contrast, saturation), changed in zip(
        images, factors.tolist(), found, strict=True
    ):
        expected = v2.functional.adjust_brightness(image, brightness)
        expected = v2.functional.adjust_contrast(expected, contrast)
        expected = v2.functional.adjust_saturation(expected, saturation)
        torch.testing.assert_close(changed, expected, atol=1e-5, rtol=0)


def test_views_are_bytes_of_the_network_size() -> None:
    pixels = torch.randint(0, 256, (50, 3, 20, 20), dtype=torch.uint8)
    drawn, ratios = chance(50, COLUMNS), torch.ones(50)
    assert Augmentation(flip="random").crop_and_jitter(pixels, drawn, ratios, (20, 20)) is pixels
    cut = Augmentation(random_crop=0.3).crop_and_jitter(pixels, drawn, ratios, (12, 16))
    assert (cut.shape, cut.dtype) == ((50, 3, 12, 16), torch.uint8)
    bright = Augmentation(brightness=0.5).crop_and_jitter(pixels, drawn, ratios, (20, 20)).float()
    factors = 1 + 0.5 * (2 * drawn[:, augment.COLOR.start] - 1)
    expected = (pixels * factors.view(-1, 1, 1, 1)).clamp(0, 255)
    torch.testing.assert_close(bright, expected, atol=0.5 + 1e-3, rtol=0)
    assert factors.min() < 0.6
    assert factors.max() > 1.4


@pytest.mark.parametrize("wrong", [{"random_crop": 1.5}, {"brightness": -0.1}])
def test_amounts_of_views_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected random_crop from 0 to 1, and brightness"):
        Augmentation(**wrong)  # type: ignore[arg-type]
