"""Learning from a teacher."""

import torch
from torch import nn

from falconet.training.augment import Augmentation
from falconet.training.distill import taught


def test_a_teacher_sees_mirror_images_where_the_student_does() -> None:
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 5))
    images = torch.rand(2, 3, 4, 4)
    as_they_are = teacher(images)
    mean = (as_they_are + teacher(images.flip(3))) / 2
    assert not torch.allclose(mean, as_they_are)

    torch.testing.assert_close(taught(teacher, images, Augmentation()), as_they_are)
    for flip in ("random", "alternating"):
        torch.testing.assert_close(taught(teacher, images, Augmentation(flip=flip)), mean)
